#define ELMAN_TARGET_NAMESPACE scalar
#include "../loop.h"

namespace elman {
const Target scalar_target = {"scalar", scalar::loops, scalar::float32, scalar::bf16};
}
