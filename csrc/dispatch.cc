#include "dispatch.h"

namespace elman {
namespace {

bool runs(const std::string& name) {
  if (name == "scalar") return true;
#if defined(ELMAN_X86_TARGETS)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (name == "avx2") return avx2;
  if (name == "avx512")
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq");
#endif
  return false;
}

}  // namespace

std::vector<std::string> targets_here() {
  std::vector<std::string> names;
  for (const char* name : {"avx512", "avx2", "scalar"})
    if (runs(name)) names.emplace_back(name);
  return names;
}

const Target* find_target(const std::string& name) {
  if (!runs(name)) return nullptr;
#if defined(ELMAN_X86_TARGETS)
  if (name == "avx512") return &avx512_target;
  if (name == "avx2") return &avx2_target;
#endif
  return &scalar_target;
}

}  // namespace elman
