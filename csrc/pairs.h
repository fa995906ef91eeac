// Numbers of bfloat16, two by two, as AMX and AVX-512-BF16 multiply them: what is rounded, how weights are packed, and the
// gradients of parameters. A unit adds what the operands have in these forms.
//
// A panel is 32 columns of a matrix, in steps of 32 of its depth. A step is two blocks of 1,024 bytes, 16 columns each:
// line k of a block is (w[2k][0], w[2k+1][0], w[2k][1], ...). Sums have the order of the depth, a pair at a time.
#pragma once

#include "gradient.h"

namespace elman::ELMAN_TARGET_NAMESPACE::pairs {

inline constexpr int depth_of_step = 32, block_bytes = 1024, step_bytes = 2 * block_bytes;

inline int steps_of(int depth) { return (depth + depth_of_step - 1) / depth_of_step; }

// Where operand rows lie, in bytes: from one to the next, and between steps of the depth.
struct Left {
  const char* data;
  size_t row, step;
};

// 32 numbers of bfloat16 from floats, zero beyond `real`.
inline __m512i halves(const float* p, int real) {
  const uint32_t mask = real >= 32 ? ~0u : (1u << std::max(real, 0)) - 1u;
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(mask >> 16, p + 16), _mm512_maskz_loadu_ps(mask & 0xffff, p));
}

inline int rounded_floats(int width) { return padded(width) / 2; }

inline void round(View from, View to, int rows, int column, int columns, int width) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; j += 32)
      _mm512_storeu_si512(to.data + r * to.stride + (column + j) / 2, halves(from.data + r * from.stride + j, width - column - j));
}

// (even[n], odd[n]) for n below 16, and from 16 on.
inline void interleave(__m512i even, __m512i odd, __m512i& low, __m512i& high) {
  const __m512i pairs = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  low = _mm512_permutex2var_epi16(even, pairs, odd);
  high = _mm512_permutex2var_epi16(even, _mm512_add_epi16(pairs, _mm512_set1_epi16(16)), odd);
}

inline size_t packed_floats(const Group& group) { return group.targets.size() * steps_of(group.depth) * step_bytes / sizeof(float); }

inline void pack(const Group& group, int width, int column, const float* const* parameters, const int* strides, float* out) {
  auto* to = reinterpret_cast<__m512i*>(out);
  for (const Factor& f : group.factors) {
    const size_t stride = strides[f.parameter];
    const float* w = parameters[f.parameter] + f.first_column;
    for (int k = 0; k < group.depth; k += depth_of_step, to += 32)
      for (int i = 0; i < 16; ++i) {
        if (f.transposed) {  // target column j takes w[k][j]
          const int even = k + 2 * i;
          const auto row = [&](int n) { return n < group.depth ? halves(w + n * stride + column, width - column) : _mm512_setzero_si512(); };
          interleave(row(even), row(even + 1), to[i], to[16 + i]);
        } else {  // target column j takes w[j][k]
          const auto row = [&](int j) { return j < width ? halves(w + j * stride + k, group.depth - k) : _mm512_setzero_si512(); };
          to[i] = row(column + i), to[16 + i] = row(column + 16 + i);
        }
      }
    if (!f.transposed)
      for (__m512i* tile = to - 32 * steps_of(group.depth); tile < to; tile += 16) transpose(tile);
  }
}

inline constexpr int most_rows_packed = 1024;  // of factors of gradients

inline size_t gradient_floats(const Plan& plan, int) {
  size_t columns = 0;
  for (const Accumulation& acc : plan.accumulations) columns += padded(acc.left_width) + padded(acc.right_width);
  return columns * most_rows_packed / 2;
}

// 32 columns of a factor, rows from `row` on, two by two; `left`: turned, so that they are rows of 32 steps of the depth.
inline void pack_factor(const float* row, size_t stride, int depth, bool left, char* out) {
  auto* to = reinterpret_cast<__m512i*>(out);
  for (int k = 0; k < depth; k += depth_of_step, to += 32) {
    for (int i = 0; i < 16; ++i) {
      const auto numbers = [&](int n) { return n < depth ? _mm512_loadu_si512(row + n * stride) : _mm512_setzero_si512(); };
      interleave(numbers(k + 2 * i), numbers(k + 2 * i + 1), to[i], to[16 + i]);
    }
    if (left) transpose(to), transpose(to + 16);
  }
}

// `Unit` multiplies 32 rows with a panel of 32 columns.
template <class Unit>
void add_matrix(const Bound& bound, const Accumulation& acc, const char* left, const char* right, int steps, int index, int threads) {
  const int blocks = padded(acc.left_width) / 32;
  const size_t stride = bound.plan.parameter_columns[acc.parameter], strip = static_cast<size_t>(steps) * step_bytes;
  float* out = bound.gradients->d_parameters[acc.parameter] + acc.first_column;
  alignas(64) float edge[32 * block_columns];
  for (int m = blocks * index / threads; m < blocks * (index + 1) / threads; ++m)
    for (int n = 0; n < padded(acc.right_width) / 32; ++n) {
      const int rows = std::min(32, acc.left_width - 32 * m), columns = std::min(32, acc.right_width - 32 * n);
      float* to = out + 32 * m * stride + 32 * n;
      const Left a{left + m * strip, 64, step_bytes};
      if (rows == 32 && columns == 32) {
        Unit::block(steps, a, right + n * strip, {to, stride, to, stride});
      } else {
        Unit::block(steps, a, right + n * strip, {edge, block_columns, nullptr, 0});
        add_block(edge, block_columns, rows, columns, to, stride);
      }
    }
}

inline void add_rounded_vector(const Bound& bound, const Accumulation& acc, int64_t first, int depth, int index, int threads) {
  const size_t stride = bound.slot_stride_of[acc.left.index];
  const auto* left = reinterpret_cast<const char*>(bound.row(acc.left, first));
  float* out = bound.gradients->d_parameters[acc.parameter];
  for (int j = 16 * index; j < acc.left_width; j += 16 * threads) {
    const int n = std::min(16, acc.left_width - j);
    Vec sum = Vec::all(0.0f);
    for (int k = 0; k < depth; ++k) {
      const __m256i numbers = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(left + k * stride * sizeof(float) + 2 * j));
      sum = sum + Vec{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(numbers), 16))};
    }
    (Vec::load(out + j, n) + sum).store(out + j, n);
  }
}

// The threads pack every factor once, meet, and multiply.
template <class Unit>
void accumulate(const Bound& bound, int64_t first, int64_t last, float* room, int index, int threads, Barrier& barrier) {
  for (; first < last; first += most_rows_packed) {
    const int depth = static_cast<int>(std::min<int64_t>(most_rows_packed, last - first)), steps = steps_of(depth);
    const auto place = [&](int column) { return reinterpret_cast<char*>(room) + static_cast<size_t>(column / 32) * steps * step_bytes; };
    for (const PackedFactor& f : bound.factors)
      for (int j = 0; j < f.width; j += 32)
        if ((f.column + j) / 32 % threads == index)
          pack_factor(bound.row(f.operand, first) + j / 2, bound.slot_stride_of[f.operand.index], depth, f.left, place(f.column + j));
    barrier.wait();
    Unit::prepare();
    for (size_t n = 0; n < bound.plan.accumulations.size(); ++n) {
      const Accumulation& acc = bound.plan.accumulations[n];
      if (!bound.gradients->d_parameters[acc.parameter]) continue;
      if (acc.right.place != Place::none) {
        add_matrix<Unit>(bound, acc, place(bound.factors[bound.left_factor[n]].column), place(bound.factors[bound.right_factor[n]].column), steps, index, threads);
      } else if (acc.left.place == Place::rounded) {
        add_rounded_vector(bound, acc, first, depth, index, threads);
      } else {
        int from, to;
        share(acc.left_width, index, threads, from, to);
        add_vector(bound, acc, first, depth, from, to);
      }
    }
    if (first + most_rows_packed < last) barrier.wait();  // nobody reads the packed factors any more
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE::pairs
