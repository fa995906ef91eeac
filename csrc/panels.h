// Few rows times panels of 32 columns, with weights in three forms. Every sum runs through its depth in one order, as in
// product.h; with int8 it is a sum of whole numbers and thereby the same in any order and on every target.
#pragma once

#include <algorithm>

#include "simd.h"
#include "stepper.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// Where a panel's sums go, and what they start from; a null pointer for zero.
struct Sums {
  float* to = nullptr;
  size_t to_stride = 0;
  const float* from = nullptr;
  size_t from_stride = 0;
};

// Rows that products read: floats, and for int8 whole numbers of 16 bits in two halves,
// x = scale * (256 * high + low - 32768).
struct PanelRows {
  const float* data = nullptr;
  size_t stride = 0;
  const uint8_t* high = nullptr;
  const uint8_t* low = nullptr;
  size_t half_stride = 0;
  const float* scale = nullptr;
};

inline constexpr int parts = panel_width / Vec::lanes;  // native vectors in a panel's row

struct Float32Panel {
  static constexpr int term_bytes = panel_width * 4;
  static void load(const std::byte* term, Vec* w) {
    for (int i = 0; i < parts; ++i) w[i] = Vec::load(reinterpret_cast<const float*>(term) + i * Vec::lanes);
  }
};

// A bfloat16 is the high half of a float: one load gives two vectors by a shift and a mask.
struct Bfloat16Panel {
  static constexpr int term_bytes = panel_width * 2;
  static void load(const std::byte* term, Vec* w) {
    for (int i = 0; i < parts / 2; ++i) pairs(term + i * Vec::lanes * 4, w[i], w[parts / 2 + i]);
  }

 private:
  static void pairs(const std::byte* from, Vec& low, Vec& high) {
#if defined(ELMAN_AVX512)
    const __m512i both = _mm512_loadu_si512(from);
    low = {_mm512_castsi512_ps(_mm512_slli_epi32(both, 16))};
    high = {_mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
#elif defined(ELMAN_AVX2)
    const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    low = {_mm256_castsi256_ps(_mm256_slli_epi32(both, 16))};
    high = {_mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))};
#elif defined(ELMAN_NEON)
    const uint32x4_t both = vld1q_u32(reinterpret_cast<const uint32_t*>(from));
    low = {vreinterpretq_f32_u32(vshlq_n_u32(both, 16))};
    high = {vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000u)))};
#else
    uint32_t both;
    std::memcpy(&both, from, sizeof both);
    const uint32_t l = both << 16, h = both & 0xffff0000u;
    std::memcpy(&low.v, &l, sizeof l);
    std::memcpy(&high.v, &h, sizeof h);
#endif
  }
};

// R rows times P panels.
template <class Panel, int R, int P>
inline void multiply(int depth, const PanelRows& a, int row, const std::byte* const* panels, const Sums* sums) {
  Vec sum[R][P * parts];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int i = 0; i < P * parts; ++i) {
      const Sums& s = sums[i / parts];
      sum[r][i] = s.from ? Vec::load(s.from + (row + r) * s.from_stride + i % parts * Vec::lanes) : Vec::all(0.0f);
    }
  const float* x = a.data + row * a.stride;
  for (int k = 0; k < depth; ++k) {
    Vec w[P * parts];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const std::byte* const term = panels[p] + static_cast<size_t>(k) * Panel::term_bytes;
      // Ask for what is read soon, into the nearest cache: the processor by itself stops at the end of a page.
      for (int line = 0; line < Panel::term_bytes; line += 64) __builtin_prefetch(term + 2048 + line, 0, 3);
      Panel::load(term, w + p * parts);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec term = Vec::all(x[r * a.stride + k]);
#pragma GCC unroll 64
      for (int i = 0; i < P * parts; ++i) sum[r][i] = fma(term, w[i], sum[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 64
    for (int i = 0; i < P * parts; ++i) sum[r][i].store(sums[i / parts].to + (row + r) * sums[i / parts].to_stride + i % parts * Vec::lanes);
}

// From sums of whole numbers to floats. high holds sum(h w) and low sum(l w); 128 sum(w) is what the shift of the operand
// by 32768 has added to the first.
inline void finish_int8(const std::byte* panel, const Sums& s, int row, float scale, const int32_t* high, const int32_t* low) {
  const float* scales = reinterpret_cast<const float*>(panel);
  const int32_t* columns = reinterpret_cast<const int32_t*>(panel + panel_width * sizeof(float));
  const float* from = s.from ? s.from + row * s.from_stride : nullptr;
  float* to = s.to + row * s.to_stride;
  for (int j = 0; j < panel_width; ++j) {
    const float whole = static_cast<float>(high[j] - 128 * columns[j]) * 256.0f + static_cast<float>(low[j]);
    const float value = whole * (scale * scales[j]);
    to[j] = from ? from[j] + value : value;
  }
}

// The definition, and the path of processors without instructions for it.
inline void multiply_int8(int depth, const PanelRows& a, int row, const std::byte* panel, const Sums& s) {
  const auto* w = reinterpret_cast<const int8_t*>(panel + int8_header);
  const uint8_t *h = a.high + row * a.half_stride, *l = a.low + row * a.half_stride;
  int32_t high[panel_width] = {}, low[panel_width] = {};
  for (int k = 0; k < depth; k += 4, w += 4 * panel_width)
    for (int j = 0; j < panel_width; ++j)
      for (int i = 0; i < 4; ++i) high[j] += h[k + i] * w[j * 4 + i], low[j] += l[k + i] * w[j * 4 + i];
  finish_int8(panel, s, row, a.scale[row], high, low);
}

#if defined(ELMAN_AVX512) || defined(ELMAN_AVX2)
// Four columns x four terms at a time as 16-bit numbers, whose products are added in pairs.
inline void multiply_int8_avx2(int depth, const PanelRows& a, int row, const std::byte* panel, const Sums& s) {
  const auto* w = reinterpret_cast<const __m128i*>(panel + int8_header);
  const uint8_t *h = a.high + row * a.half_stride, *l = a.low + row * a.half_stride;
  const auto four = [](const uint8_t* from) {  // four terms, four times
    int32_t terms;
    std::memcpy(&terms, from, sizeof terms);
    return _mm256_cvtepu8_epi16(_mm_set1_epi32(terms));
  };
  alignas(32) int32_t high[panel_width], low[panel_width];
  for (int half = 0; half < 2; ++half) {
    __m256i sum_high[4], sum_low[4];
    for (int i = 0; i < 4; ++i) sum_high[i] = sum_low[i] = _mm256_setzero_si256();
    for (int k = 0; k < depth; k += 4) {
      const __m256i x_high = four(h + k), x_low = four(l + k);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256i terms = _mm256_cvtepi8_epi16(_mm_loadu_si128(w + k / 4 * 8 + half * 4 + i));
        sum_high[i] = _mm256_add_epi32(sum_high[i], _mm256_madd_epi16(x_high, terms));
        sum_low[i] = _mm256_add_epi32(sum_low[i], _mm256_madd_epi16(x_low, terms));
      }
    }
    const auto store = [half](const __m256i* sums, int32_t* to) {  // add the two pairs of each column
      alignas(32) int32_t pairs[8];
      for (int i = 0; i < 4; ++i) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(pairs), sums[i]);
        for (int c = 0; c < 4; ++c) to[half * 16 + i * 4 + c] = pairs[2 * c] + pairs[2 * c + 1];
      }
    };
    store(sum_high, high), store(sum_low, low);
  }
  finish_int8(panel, s, row, a.scale[row], high, low);
}
#endif

#if defined(ELMAN_AVX512)
// R rows times P panels with the instructions for it (VNNI): 64 products of bytes at a time.
template <int R, int P>
__attribute__((target("avx512vnni"))) inline void multiply_int8_vnni(int depth, const PanelRows& a, int row, const std::byte* const* panels,
                                                                     const Sums* sums) {
  __m512i high[R][2 * P], low[R][2 * P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int i = 0; i < 2 * P; ++i) high[r][i] = low[r][i] = _mm512_setzero_si512();
  const uint8_t *h = a.high + row * a.half_stride, *l = a.low + row * a.half_stride;
  for (int k = 0; k < depth; k += 4) {
    __m512i w[2 * P];
#pragma GCC unroll 8
    for (int i = 0; i < 2 * P; ++i) w[i] = _mm512_loadu_si512(panels[i / 2] + int8_header + static_cast<size_t>(k) * panel_width + i % 2 * 64);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      int32_t four_high, four_low;
      std::memcpy(&four_high, h + r * a.half_stride + k, sizeof four_high);
      std::memcpy(&four_low, l + r * a.half_stride + k, sizeof four_low);
      const __m512i x_high = _mm512_set1_epi32(four_high), x_low = _mm512_set1_epi32(four_low);
#pragma GCC unroll 8
      for (int i = 0; i < 2 * P; ++i) {
        high[r][i] = _mm512_dpbusd_epi32(high[r][i], x_high, w[i]);
        low[r][i] = _mm512_dpbusd_epi32(low[r][i], x_low, w[i]);
      }
    }
  }
  alignas(64) int32_t whole_high[panel_width], whole_low[panel_width];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        _mm512_store_si512(whole_high + half * 16, high[r][2 * p + half]);
        _mm512_store_si512(whole_low + half * 16, low[r][2 * p + half]);
      }
      finish_int8(panels[p], sums[p], row + r, a.scale[row + r], whole_high, whole_low);
    }
}
#endif

// How many rows and panels a kernel takes so that its sums stay in registers.
struct Blocking {
  int most_rows;
  int panels;  // 1, 2 or 4
};

inline Blocking blocking_for(Precision precision, int rows) {
#if defined(ELMAN_AVX512)
  if (precision == Precision::int8) return rows == 1 ? Blocking{1, 4} : rows <= 3 ? Blocking{3, 2} : Blocking{6, 1};
  return rows <= 2 ? Blocking{2, 4} : rows <= 6 ? Blocking{6, 2} : Blocking{12, 1};
#elif defined(ELMAN_AVX2)
  (void)precision;
  return rows == 1 ? Blocking{1, 2} : Blocking{3, 1};
#else
  (void)precision, (void)rows;
  return {1, 1};
#endif
}

using PanelKernel = void (*)(int, const PanelRows&, int, const std::byte* const*, const Sums*);

// Rows that kernels of P panels exist for.
inline constexpr int rows_with(int panels) {
  if (Vec::lanes == 16) return panels == 4 ? 2 : panels == 2 ? 6 : 12;
  return Vec::lanes == 8 ? (panels == 4 ? 0 : panels == 2 ? 1 : 3) : (panels == 1 ? 1 : 0);
}

template <class Panel, int R, int P>
constexpr PanelKernel float_kernel() {
  if constexpr (R <= rows_with(P)) return &multiply<Panel, R, P>;
  else return nullptr;
}

template <class Panel, int P>
inline PanelKernel float_kernel_of(int rows) {
  static constexpr PanelKernel table[] = {
      nullptr, float_kernel<Panel, 1, P>(), float_kernel<Panel, 2, P>(), float_kernel<Panel, 3, P>(), float_kernel<Panel, 4, P>(),
      float_kernel<Panel, 5, P>(), float_kernel<Panel, 6, P>(), float_kernel<Panel, 7, P>(), float_kernel<Panel, 8, P>(),
      float_kernel<Panel, 9, P>(), float_kernel<Panel, 10, P>(), float_kernel<Panel, 11, P>(), float_kernel<Panel, 12, P>()};
  return table[rows];
}

template <int R, int P>
inline void int8_kernel(int depth, const PanelRows& a, int row, const std::byte* const* panels, const Sums* sums) {
#if defined(ELMAN_AVX512)
  static const bool has_vnni = __builtin_cpu_supports("avx512vnni");
  if (has_vnni) return multiply_int8_vnni<R, P>(depth, a, row, panels, sums);
#endif
  for (int p = 0; p < P; ++p)
    for (int r = 0; r < R; ++r) {
#if defined(ELMAN_AVX512) || defined(ELMAN_AVX2)
      multiply_int8_avx2(depth, a, row + r, panels[p], sums[p]);
#else
      multiply_int8(depth, a, row + r, panels[p], sums[p]);
#endif
    }
}

inline constexpr int int8_rows_with(int panels) { return panels == 4 ? 1 : panels == 2 ? 3 : 6; }

template <int R, int P>
constexpr PanelKernel int8_kernel_or_none() {
  if constexpr (R <= int8_rows_with(P)) return &int8_kernel<R, P>;
  else return nullptr;
}

template <int P>
inline PanelKernel int8_kernel_of(int rows) {
  static constexpr PanelKernel table[] = {
      nullptr, int8_kernel_or_none<1, P>(), int8_kernel_or_none<2, P>(), int8_kernel_or_none<3, P>(),
      int8_kernel_or_none<4, P>(), int8_kernel_or_none<5, P>(), int8_kernel_or_none<6, P>()};
  return table[rows];
}

inline PanelKernel panel_kernel(Precision precision, int rows, int panels) {
  if (precision == Precision::int8) return panels == 4 ? int8_kernel_of<4>(rows) : panels == 2 ? int8_kernel_of<2>(rows) : int8_kernel_of<1>(rows);
  if (precision == Precision::bfloat16)
    return panels == 4 ? float_kernel_of<Bfloat16Panel, 4>(rows) : panels == 2 ? float_kernel_of<Bfloat16Panel, 2>(rows) : float_kernel_of<Bfloat16Panel, 1>(rows);
  return panels == 4 ? float_kernel_of<Float32Panel, 4>(rows) : panels == 2 ? float_kernel_of<Float32Panel, 2>(rows) : float_kernel_of<Float32Panel, 1>(rows);
}

// `rows` rows times any number of panels.
inline void multiply_panels(Precision precision, int depth, const PanelRows& a, int rows, const std::byte* const* panels, const Sums* sums, int count) {
  const Blocking blocking = blocking_for(precision, rows);
  for (int p = 0; p < count;) {
    int together = blocking.panels;
    while (together > count - p) together /= 2;
    const int chunks = (rows + blocking.most_rows - 1) / blocking.most_rows;
    for (int i = 0, row = 0; i < chunks; ++i) {
      const int many = (rows - row + chunks - i - 1) / (chunks - i);
      panel_kernel(precision, many, together)(depth, a, row, panels + p, sums + p);
      row += many;
    }
    p += together;
  }
}

// Rows as whole numbers of 16 bits, each with the scale of its largest; terms beyond the depth meet weights of zero.
inline void to_halves(const float* x, int depth, uint8_t* high, uint8_t* low, float* scale) {
  Vec largest = Vec::all(0.0f);
  int k = 0;
  for (; k + Vec::lanes <= depth; k += Vec::lanes) {
    const Vec v = absolute(Vec::load(x + k));
    largest = choose(unordered(v, largest), v + largest, choose(less(largest, v), v, largest));
  }
  alignas(64) float lanes[Vec::lanes];
  largest.store(lanes);
  float most = 0.0f;
  for (const float lane : lanes) most = lane > most || lane != lane ? lane : most;
  for (; k < depth; ++k) most = std::fabs(x[k]) > most || x[k] != x[k] ? std::fabs(x[k]) : most;
  *scale = most / 32767.0f;
  // With an infinite or no largest the products are not numbers whatever the halves, and integers must not be either; of a
  // tiny one the factor would be infinite.
  const float factor = most > 0x1p-112f && most < INFINITY ? 32767.0f / most : 0.0f;
  for (k = 0; k < depth; ++k) {
    const float shifted = x[k] * factor + 32768.5f;
    const auto whole = static_cast<uint32_t>(static_cast<int32_t>(shifted > 0.0f ? shifted : 0.0f));
    high[k] = static_cast<uint8_t>(whole >> 8), low[k] = static_cast<uint8_t>(whole);
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
