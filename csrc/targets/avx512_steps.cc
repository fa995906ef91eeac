#define ELMAN_AVX512 1
#define ELMAN_TARGET_NAMESPACE avx512
#include "../steps.h"

namespace elman {
void avx512_steps(const StepModel& model, StepCall& call, int threads) { avx512::run_steps(model, call, threads); }
}
