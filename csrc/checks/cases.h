// Runs of real plans without Python: what cases.py wrote, with values made up here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../call.h"
#include "../stepper.h"

namespace elman::checks {

struct Case {
  std::string kind, name;  // "run": forward and back; "step": token by token
  bool bf16 = false;
  std::vector<int64_t> lengths;
  Plan plan;

  std::string what() const { return kind + " " + name + (bf16 ? " in bfloat16" : ""); }
};

std::vector<Case> read_cases(const char* path);

using Floats = std::vector<float>;

// `count` numbers from -scale to scale, a function of `seed`.
Floats numbers(size_t count, uint64_t seed, float scale = 1.0f);

// y, final states, and the derivatives of x, of parameters and of initial states, one after the other.
Floats run_case(const Case& c, const Target& target, int threads);

// A model of one such layer between tokens and logits.
std::unique_ptr<StepModel> model_of(const Case& c, Precision precision);

// Logits after some tokens, then after some that the model wrote itself.
Floats step_case(const Case& c, const StepModel& model, RunSteps steps, int threads);

// Counts what does not hold, and says so.
bool expect(bool holds, const std::string& what);
int failures();

void check_targets(const std::vector<Case>& cases);
void check_threads(const std::vector<Case>& cases);

}  // namespace elman::checks
