// Subnormal numbers as zeros, inside the engine only.
#pragma once

#include <cstdint>

namespace elman::ELMAN_TARGET_NAMESPACE {

// Sets flush-to-zero for as long as it lives: derivatives that fade out would otherwise be computed in microcode,
// ten times slower, below 1e-38.
class FlushToZero {
 public:
#if defined(__x86_64__)
  FlushToZero() : before_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before_ | 0x8040); }
  ~FlushToZero() { __builtin_ia32_ldmxcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushToZero() {
    asm volatile("mrs %0, fpcr" : "=r"(before_)::"memory");
    asm volatile("msr fpcr, %0" ::"r"(before_ | uint64_t{1} << 24) : "memory");
  }
  ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(before_) : "memory"); }

 private:
  uint64_t before_;
#else
  FlushToZero() = default;
#endif
};

}  // namespace elman::ELMAN_TARGET_NAMESPACE
