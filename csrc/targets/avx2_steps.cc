#define ELMAN_AVX2 1
#define ELMAN_TARGET_NAMESPACE avx2
#include "../steps.h"

namespace elman {
void avx2_steps(const StepModel& model, StepCall& call, int threads) { avx2::run_steps(model, call, threads); }
}
