#define ELMAN_TARGET_NAMESPACE scalar
#include "../loop.h"

namespace elman {
const Target scalar_target = {"scalar", scalar::pack, scalar::forward, scalar::backward, scalar::function};
}
