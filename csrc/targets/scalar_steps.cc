#define ELMAN_TARGET_NAMESPACE scalar
#include "../steps.h"

namespace elman {
void scalar_steps(const StepModel& model, StepCall& call, int threads) { scalar::run_steps(model, call, threads); }
}
