// The tiles of AMX, as its instructions handle them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace elman::tiles {

// What the instruction that configures the tiles reads: bytes of a row and rows, for each of eight tiles.
struct alignas(64) Configuration {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

}  // namespace elman::tiles

#if defined(ELMAN_EMULATE_TILES)
#include "checks/emulated_tiles.h"
#else

namespace elman::tiles {

// Instructions spelled out, each with a memory clobber: the intrinsics of gcc 12 lack it, and stores move past them.
inline void use(const Configuration& c) { asm volatile("ldtilecfg %0" ::"m"(c) : "memory"); }

inline void release() { asm volatile("tilerelease" ::: "memory"); }

template <int T>
inline void load(const void* p, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}

template <int T>
inline void store(void* p, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory");
}

template <int T>
inline void zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}

// Sum += A B, of pairs of bfloat16.
template <int Sum, int A, int B>
inline void multiply() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B));
}

}  // namespace elman::tiles

#endif
