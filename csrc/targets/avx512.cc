#define ELMAN_AVX512 1
#define ELMAN_TARGET_NAMESPACE avx512
#include "../loop.h"

namespace elman {
const Target avx512_target = {"avx512", avx512::pack, avx512::forward, avx512::backward, avx512::function};
}
