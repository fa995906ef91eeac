// Four to six rows times 16 columns with AVX2, the loop over the depth written out. A core that two threads of the hardware
// share issues some three instructions a cycle for each; what compilers make of the loop has two for every multiply-add
// (unrolled, it moves sums to memory and back), this one 1.7.
#pragma once

#include <cstddef>

namespace elman::ELMAN_TARGET_NAMESPACE {

// Sums of row r lie in registers 2 r and 2 r + 1, the columns of a step in 12 and 13, numbers of the rows in 14 and 15.
// What the sums of the next columns start from and end in is often not in the cache, and comes nearer meanwhile.
#define ELMAN_START(low, high) \
  "vmovups (%[from]), %%ymm" #low "\n\tvmovups 32(%[from]), %%ymm" #high "\n\tprefetcht0 64(%[from])\n\tadd %[from_stride], %[from]\n\t"
#define ELMAN_END(low, high) \
  "vmovups %%ymm" #low ", (%[to])\n\tvmovups %%ymm" #high ", 32(%[to])\n\tprefetchw 64(%[to])\n\tadd %[to_stride], %[to]\n\t"
#define ELMAN_COLUMNS(k) "vmovups 64*" #k "(%[panel]), %%ymm12\n\tvmovups 64*" #k "+32(%[panel]), %%ymm13\n\t"
#define ELMAN_ROW(number, x, low, high) \
  "vbroadcastss " number ", %%ymm" #x "\n\tvfmadd231ps %%ymm12, %%ymm" #x ", %%ymm" #low "\n\tvfmadd231ps %%ymm13, %%ymm" #x ", %%ymm" #high "\n\t"

#define ELMAN_STARTS_4 ELMAN_START(0, 1) ELMAN_START(2, 3) ELMAN_START(4, 5) ELMAN_START(6, 7)
#define ELMAN_STARTS_5 ELMAN_STARTS_4 ELMAN_START(8, 9)
#define ELMAN_STARTS_6 ELMAN_STARTS_5 ELMAN_START(10, 11)
#define ELMAN_ENDS_4 ELMAN_END(0, 1) ELMAN_END(2, 3) ELMAN_END(4, 5) ELMAN_END(6, 7)
#define ELMAN_ENDS_5 ELMAN_ENDS_4 ELMAN_END(8, 9)
#define ELMAN_ENDS_6 ELMAN_ENDS_5 ELMAN_END(10, 11)

// Step k from here on of all rows; `at(k, r)` says where the number of row r lies.
#define ELMAN_STEP_4(k, at) \
  ELMAN_COLUMNS(k) ELMAN_ROW(at(k, 0), 14, 0, 1) ELMAN_ROW(at(k, 1), 15, 2, 3) ELMAN_ROW(at(k, 2), 14, 4, 5) ELMAN_ROW(at(k, 3), 15, 6, 7)
#define ELMAN_STEP_5(k, at) ELMAN_STEP_4(k, at) ELMAN_ROW(at(k, 4), 14, 8, 9)
#define ELMAN_STEP_6(k, at) ELMAN_STEP_5(k, at) ELMAN_ROW(at(k, 5), 15, 10, 11)

#define ELMAN_PACKED_4(k, r) "16*" #k "+4*" #r "(%[a])"
#define ELMAN_PACKED_5(k, r) "20*" #k "+4*" #r "(%[a])"
#define ELMAN_PACKED_6(k, r) "24*" #k "+4*" #r "(%[a])"
#define ELMAN_STRIDED(k, r) "4*" #k ELMAN_STRIDED_##r
#define ELMAN_STRIDED_0 "(%[a])"
#define ELMAN_STRIDED_1 "(%[a],%[stride])"
#define ELMAN_STRIDED_2 "(%[a],%[stride],2)"
#define ELMAN_STRIDED_3 "(%[third])"
#define ELMAN_STRIDED_4 "(%[third],%[stride])"
#define ELMAN_STRIDED_5 "(%[third],%[stride],2)"

// Four steps of the depth in a turn, then those that are left one by one; the numbers of the rows lie `bytes` a step apart.
#define ELMAN_LOOP(rows, at, bytes) \
  asm volatile(ELMAN_STARTS_##rows "test %[fours], %[fours]\n\tjz 2f\n\t.p2align 5\n1:\n\t" \
      ELMAN_STEP_##rows(0, at) ELMAN_STEP_##rows(1, at) ELMAN_STEP_##rows(2, at) ELMAN_STEP_##rows(3, at) \
      "add $256, %[panel]\n\tadd $4*" #bytes ", %[a]\n\tadd $4*" #bytes ", %[third]\n\tprefetcht1 (%[ahead])\n\tadd $64, %[ahead]\n\tdec %[fours]\n\tjnz 1b\n" \
      "2:\n\ttest %[ones], %[ones]\n\tjz 4f\n3:\n\t" ELMAN_STEP_##rows(0, at) \
      "add $64, %[panel]\n\tadd $" #bytes ", %[a]\n\tadd $" #bytes ", %[third]\n\tdec %[ones]\n\tjnz 3b\n4:\n\t" ELMAN_ENDS_##rows "vzeroupper\n\t" \
      : [a] "+r"(a), [third] "+r"(third), [panel] "+r"(panel), [fours] "+r"(fours), [ones] "+r"(ones), [from] "+r"(from), [to] "+r"(to), [ahead] "+r"(ahead) \
      : [stride] "r"(stride), [from_stride] "r"(from_stride), [to_stride] "r"(to_stride) \
      : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

inline constexpr float no_start[16] = {};

// to = from + R rows of `depth` numbers times panel (depth, 16), the rows of `to` and `from` (nullptr: zero) so many floats
// apart. Packed: number k of row r lies at a[k * R + r], else at a[r * a_stride + k]. Memory from `ahead` on comes nearer.
template <int R, bool Packed>
inline void rows_times_unit(int depth, const float* a, size_t a_stride, const float* panel, const float* from, size_t from_stride, float* to, size_t to_stride, const float* ahead) {
  static_assert(4 <= R && R <= 6);
  const size_t stride = a_stride * sizeof(float);
  const float* third = a + 3 * a_stride;
  size_t fours = depth / 4, ones = depth % 4;
  if (!from) from = no_start, from_stride = 0;
  from_stride *= sizeof(float), to_stride *= sizeof(float);
  if constexpr (Packed && R == 4) ELMAN_LOOP(4, ELMAN_PACKED_4, 16);
  else if constexpr (Packed && R == 5) ELMAN_LOOP(5, ELMAN_PACKED_5, 20);
  else if constexpr (Packed) ELMAN_LOOP(6, ELMAN_PACKED_6, 24);
  else if constexpr (R == 4) ELMAN_LOOP(4, ELMAN_STRIDED, 4);
  else if constexpr (R == 5) ELMAN_LOOP(5, ELMAN_STRIDED, 4);
  else ELMAN_LOOP(6, ELMAN_STRIDED, 4);
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
