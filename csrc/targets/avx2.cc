#define ELMAN_AVX2 1
#define ELMAN_TARGET_NAMESPACE avx2
#include "../loop.h"

namespace elman {
const Target avx2_target = {"avx2", avx2::loops, avx2::float32, avx2::bf16};
}
