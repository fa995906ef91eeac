#include "dispatch.h"

#if defined(ELMAN_X86_TARGETS)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace elman {
namespace {

#if defined(ELMAN_X86_TARGETS)
// Whether the processor has tiles and bfloat16, and the system lets this process use them: it must be asked, once.
bool ask_for_amx() {
#if defined(ELMAN_EMULATE_TILES)
  return __builtin_cpu_supports("avx512bf16");
#else
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool tiles = (d >> 24 & 1) && (d >> 22 & 1);
  if (!tiles || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return false;  // avx512_bf16
#if defined(__linux__)
  constexpr int request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
#endif
}

bool amx_granted() {
  static const bool granted = ask_for_amx();
  return granted;
}
#endif

bool runs(const std::string& name) {
  if (name == "scalar") return true;
#if defined(ELMAN_X86_TARGETS)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (name == "avx2") return avx2;
  if (name == "avx512")
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq");
  if (name == "avx512_bf16") return runs("avx512") && __builtin_cpu_supports("avx512bf16");
  if (name == "amx") return runs("avx512") && amx_granted();
#elif defined(ELMAN_ARM_TARGETS)
  if (name == "neon") return true;  // every processor of 64 bits has it
#endif
  return false;
}

}  // namespace

std::vector<std::string> targets_here() {
  std::vector<std::string> names;
  for (const char* name : {"amx", "avx512_bf16", "avx512", "avx2", "neon", "scalar"})
    if (runs(name)) names.emplace_back(name);
  return names;
}

const Target* find_target(const std::string& name) {
  if (!runs(name)) return nullptr;
#if defined(ELMAN_X86_TARGETS)
  if (name == "amx") return &amx_target;
  if (name == "avx512_bf16") return &avx512_bf16_target;
  if (name == "avx512") return &avx512_target;
  if (name == "avx2") return &avx2_target;
#elif defined(ELMAN_ARM_TARGETS)
  if (name == "neon") return &neon_target;
#endif
  return &scalar_target;
}

}  // namespace elman
