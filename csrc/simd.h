// Vectors of floats, one class a target; everything above is written once, for `Vec`.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(ELMAN_AVX512) || defined(ELMAN_AVX2)
#include <immintrin.h>
#elif defined(ELMAN_NEON)
#include <arm_neon.h>
#endif

namespace elman::ELMAN_TARGET_NAMESPACE {

#if defined(ELMAN_AVX512)

struct Vec {
  static constexpr int lanes = 16;
  __m512 v;

  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load(const float* p, int n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  static Vec all(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, int n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
  static __mmask16 mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
};
using Lanes = __mmask16;
inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec operator-(Vec a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline Vec absolute(Vec a) { return {_mm512_abs_ps(a.v)}; }
inline Vec root(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
inline Lanes less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline Lanes unordered(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_UNORD_Q); }
inline Vec choose(Lanes m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m, no.v, yes.v)}; }
inline Vec nearest(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// Not below `low` or above `high`; NaN stays NaN, as the second operand is what these give then.
inline Vec within(Vec a, float low, float high) { return {_mm512_max_ps(_mm512_set1_ps(low), _mm512_min_ps(_mm512_set1_ps(high), a.v))}; }
inline Vec with_sign_of(Vec magnitude, Vec sign) {
  const __m512i m = _mm512_set1_epi32(INT32_MIN);
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(m, _mm512_castps_si512(sign.v), _mm512_castps_si512(magnitude.v), 0xCA))};
}
inline Vec times_power_of_two(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }
inline Vec to_upper_half(Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return {_mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(-65536)))};
}

#elif defined(ELMAN_AVX2)

struct Vec {
  static constexpr int lanes = 8;
  __m256 v;

  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  // Masked stores are microcode on some processors; most parts are whole.
  static Vec load(const float* p, int n) { return n >= lanes ? load(p) : Vec{_mm256_maskload_ps(p, mask(n))}; }
  static Vec all(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, int n) const { n >= lanes ? store(p) : _mm256_maskstore_ps(p, mask(n), v); }
  static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};
using Lanes = __m256;
inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vec operator-(Vec a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline Vec absolute(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline Vec root(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
inline Lanes less(Vec a, Vec b) { return _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ); }
inline Lanes unordered(Vec a, Vec b) { return _mm256_cmp_ps(a.v, b.v, _CMP_UNORD_Q); }
inline Vec choose(Lanes m, Vec yes, Vec no) { return {_mm256_blendv_ps(no.v, yes.v, m)}; }
inline Vec nearest(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Vec within(Vec a, float low, float high) { return {_mm256_max_ps(_mm256_set1_ps(low), _mm256_min_ps(_mm256_set1_ps(high), a.v))}; }
inline Vec with_sign_of(Vec magnitude, Vec sign) {
  const __m256 m = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_and_ps(m, sign.v), _mm256_andnot_ps(m, magnitude.v))};
}
// In two factors, so that 2^128 and what is below the normal numbers come out as infinity and zero.
inline Vec times_power_of_two(Vec a, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(whole, 1);
  const auto power = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, power(half)), power(_mm256_sub_epi32(whole, half)))};
}
inline Vec to_upper_half(Vec a) {
  const __m256i bits = _mm256_castps_si256(a.v), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  return {_mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(-65536)))};
}

#elif defined(ELMAN_NEON)

struct Vec {
  static constexpr int lanes = 4;
  float32x4_t v;

  static Vec load(const float* p) { return {vld1q_f32(p)}; }
  static Vec load(const float* p, int n) {  // what lies beyond is not touched: it may be nobody's
    if (n >= lanes) return load(p);
    float some[lanes] = {};
    for (int i = 0; i < n; ++i) some[i] = p[i];
    return load(some);
  }
  static Vec all(float x) { return {vdupq_n_f32(x)}; }
  void store(float* p) const { vst1q_f32(p, v); }
  void store(float* p, int n) const {
    if (n >= lanes) return store(p);
    float some[lanes];
    store(some);
    for (int i = 0; i < n; ++i) p[i] = some[i];
  }
};
using Lanes = uint32x4_t;
inline Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
inline Vec operator-(Vec a) { return {vnegq_f32(a.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
inline Vec absolute(Vec a) { return {vabsq_f32(a.v)}; }
inline Vec root(Vec a) { return {vsqrtq_f32(a.v)}; }
inline Lanes less(Vec a, Vec b) { return vcltq_f32(a.v, b.v); }
inline Lanes unordered(Vec a, Vec b) { return vmvnq_u32(vandq_u32(vceqq_f32(a.v, a.v), vceqq_f32(b.v, b.v))); }
inline Vec choose(Lanes m, Vec yes, Vec no) { return {vbslq_f32(m, yes.v, no.v)}; }
inline Vec nearest(Vec a) { return {vrndnq_f32(a.v)}; }
inline Vec within(Vec a, float low, float high) { return {vmaxq_f32(vdupq_n_f32(low), vminq_f32(vdupq_n_f32(high), a.v))}; }
inline Vec with_sign_of(Vec magnitude, Vec sign) { return {vbslq_f32(vdupq_n_u32(0x80000000u), sign.v, magnitude.v)}; }
// In two factors, as for AVX2.
inline Vec times_power_of_two(Vec a, Vec n) {
  const int32x4_t whole = vcvtq_s32_f32(n.v), half = vshrq_n_s32(whole, 1);
  const auto power = [](int32x4_t e) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23)); };
  return {vmulq_f32(vmulq_f32(a.v, power(half)), power(vsubq_s32(whole, half)))};
}
inline Vec to_upper_half(Vec a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a.v), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  return {vreinterpretq_f32_u32(vandq_u32(up, vdupq_n_u32(0xffff0000u)))};
}

#else

// One number at a time: the definition that the other targets are judged against.
struct Vec {
  static constexpr int lanes = 1;
  float v;

  static Vec load(const float* p) { return {*p}; }
  static Vec load(const float* p, int) { return {*p}; }
  static Vec all(float x) { return {x}; }
  void store(float* p) const { *p = v; }
  void store(float* p, int) const { *p = v; }
};
using Lanes = bool;
inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
inline Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec operator-(Vec a) { return {-a.v}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }
inline Vec absolute(Vec a) { return {std::fabs(a.v)}; }
inline Vec root(Vec a) { return {std::sqrt(a.v)}; }
inline Lanes less(Vec a, Vec b) { return a.v < b.v; }
inline Lanes unordered(Vec a, Vec b) { return a.v != a.v || b.v != b.v; }
inline Vec choose(Lanes m, Vec yes, Vec no) { return m ? yes : no; }
inline Vec nearest(Vec a) { return {std::nearbyint(a.v)}; }
inline Vec within(Vec a, float low, float high) { return {a.v < low ? low : a.v > high ? high : a.v}; }
inline Vec with_sign_of(Vec magnitude, Vec sign) { return {std::copysign(magnitude.v, sign.v)}; }
inline Vec times_power_of_two(Vec a, Vec n) { return {n.v == n.v ? std::ldexp(a.v, static_cast<int>(n.v)) : n.v}; }
inline Vec to_upper_half(Vec a) {
  uint32_t bits;
  std::memcpy(&bits, &a.v, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
  std::memcpy(&a.v, &bits, 4);
  return a;
}

#endif

// memcpy of a few lines becomes a string instruction, whose start alone costs more than the copy.
inline void copy_columns(float* to, const float* from, int n) {
  int j = 0;
  for (; j + Vec::lanes <= n; j += Vec::lanes) Vec::load(from + j).store(to + j);
  if (j < n) Vec::load(from + j, n - j).store(to + j, n - j);
}

// min and max as the equations mean them: NaN when either is NaN.
inline Vec smaller(Vec a, Vec b) { return choose(unordered(a, b), a + b, choose(less(a, b), a, b)); }
inline Vec larger(Vec a, Vec b) { return choose(unordered(a, b), a + b, choose(less(b, a), a, b)); }

// The nearest number of bfloat16, which is the upper half of a float; ties to even. NaN would carry into the sign.
inline Vec to_bf16(Vec a) { return choose(unordered(a, a), Vec::all(NAN), to_upper_half(a)); }

// A function of the C library, lane by lane: for what cells use rarely.
template <class Function>
inline Vec each(Vec a, Function function) {
  alignas(64) float lanes[Vec::lanes];
  a.store(lanes);
  for (float& x : lanes) x = function(x);
  return Vec::load(lanes);
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
