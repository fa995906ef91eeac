#define ELMAN_AVX2 1
#define ELMAN_TARGET_NAMESPACE avx2
#include "../loop.h"

namespace elman {
const Target avx2_target = {"avx2", avx2::pack, avx2::forward, avx2::backward, avx2::function};
}
