// A square of numbers, as many to a side as a vector has lanes, turned in place.
#pragma once

#include <algorithm>
#include <utility>

#include "simd.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

#if defined(ELMAN_AVX512)

// 16 x 16 numbers of 32 bits.
inline void transpose(__m512i* z) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(z[i], z[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(z[i], z[i + 1]);
  for (int i = 0; i < 16; i += 4) {
    z[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), z[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    z[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), z[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // z[4 q + j] has, in lane l, column 4 l + j of rows 4 q to 4 q + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(z[j], z[4 + j], 0x88), b = _mm512_shuffle_i32x4(z[j], z[4 + j], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(z[8 + j], z[12 + j], 0x88), d = _mm512_shuffle_i32x4(z[8 + j], z[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88), t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88), t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  std::copy_n(t, 16, z);
}

inline void transpose(Vec* z) {
  __m512i t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) t[i] = _mm512_castps_si512(z[i].v);
  transpose(t);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) z[i].v = _mm512_castsi512_ps(t[i]);
}

#elif defined(ELMAN_AVX2)

inline void transpose(Vec* z) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 2) t[i] = _mm256_unpacklo_ps(z[i].v, z[i + 1].v), t[i + 1] = _mm256_unpackhi_ps(z[i].v, z[i + 1].v);
  for (int i = 0; i < 8; i += 4) {
    z[i].v = _mm256_shuffle_ps(t[i], t[i + 2], 0x44), z[i + 1].v = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    z[i + 2].v = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44), z[i + 3].v = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  // z[4 q + j] has, in half h, column 4 h + j of rows 4 q to 4 q + 3.
  for (int j = 0; j < 4; ++j) t[j] = _mm256_permute2f128_ps(z[j].v, z[4 + j].v, 0x20), t[4 + j] = _mm256_permute2f128_ps(z[j].v, z[4 + j].v, 0x31);
  for (int j = 0; j < 8; ++j) z[j].v = t[j];
}

#else

inline void transpose(Vec* z) {
  float square[Vec::lanes][Vec::lanes];
  for (int i = 0; i < Vec::lanes; ++i) z[i].store(square[i]);
  for (int i = 0; i < Vec::lanes; ++i)
    for (int j = 0; j < i; ++j) std::swap(square[i][j], square[j][i]);
  for (int i = 0; i < Vec::lanes; ++i) z[i] = Vec::load(square[i]);
}

#endif

}  // namespace elman::ELMAN_TARGET_NAMESPACE
