#define ELMAN_NEON 1
#define ELMAN_TARGET_NAMESPACE neon
#include "../steps.h"

namespace elman {
void neon_steps(const StepModel& model, StepCall& call, int threads) { neon::run_steps(model, call, threads); }
}
