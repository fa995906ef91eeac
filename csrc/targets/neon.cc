#define ELMAN_NEON 1
#define ELMAN_TARGET_NAMESPACE neon
#include "../loop.h"

namespace elman {
const Target neon_target = {"neon", neon::loops, neon::float32, neon::bf16};
}
