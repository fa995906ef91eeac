#define ELMAN_AVX512 1
#define ELMAN_TARGET_NAMESPACE avx512
#include "../loop.h"

namespace elman {
const Target avx512_target = {"avx512", avx512::loops, avx512::float32, avx512::bf16};
}
