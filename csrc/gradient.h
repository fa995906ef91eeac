// Gradients of parameters: sums over rows of outer products, for a chunk of rows at a time.
#pragma once

#include "passes.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

inline constexpr int block_rows = 6, block_columns = 64, depth_at_once = 512;

template <int R>
constexpr Kernel outer() {
  return &kernel<R, 1, 4, 1, true>;
}

inline Kernel outer_kernel(int rows) {
  static constexpr Kernel table[] = {nullptr, outer<1>(), outer<2>(), outer<3>(), outer<4>(), outer<5>(), outer<6>()};
  return table[rows];
}

// Columns [from, from + count) of an operand, rows [first, first + depth).
inline const float* place_in(const Bound& bound, Operand o, int64_t first, size_t& stride) {
  stride = bound.slot_stride_of[o.index];
  return bound.slot[o.index] + (first - bound.base_row) * stride;
}

struct Packer {
  std::vector<float> left, right;
};

inline void pack_left(const float* from, size_t stride, int depth, int rows, float* out) {
  for (int k = 0; k < depth; ++k) {
    const float* row = from + k * stride;
    for (int m = 0; m < rows; m += block_rows) {
      const int count = std::min(block_rows, rows - m);
      float* to = out + static_cast<size_t>(m) * depth + static_cast<size_t>(k) * count;
      for (int i = 0; i < count; ++i) to[i] = row[m + i];
    }
  }
}

inline void pack_right(const float* from, size_t stride, int depth, int columns, float* out) {
  for (int k = 0; k < depth; ++k) {
    std::memcpy(out + static_cast<size_t>(k) * block_columns, from + k * stride, sizeof(float) * columns);
    std::fill(out + static_cast<size_t>(k) * block_columns + columns, out + static_cast<size_t>(k + 1) * block_columns, 0.0f);
  }
}

inline void add_block(const float* block, int rows, int columns, float* to, size_t stride) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; ++j) to[r * stride + j] += block[r * block_columns + j];
}

// This thread's share of rows of a matrix gradient.
inline void share(int rows, int index, int threads, int& from, int& to) {
  const int blocks = (rows + block_rows - 1) / block_rows;
  from = std::min(rows, blocks * index / threads * block_rows);
  to = std::min(rows, blocks * (index + 1) / threads * block_rows);
}

inline void add_matrix(const Bound& bound, const Accumulation& acc, int64_t first, int depth, int from, int to, Packer& packer) {
  if (from == to) return;
  size_t left_stride, right_stride;
  const float* left = place_in(bound, acc.left, first, left_stride);
  const float* right = place_in(bound, acc.right, first, right_stride);
  packer.left.resize(static_cast<size_t>(to - from) * depth);
  packer.right.resize(static_cast<size_t>(block_columns) * depth);
  pack_left(left + from, left_stride, depth, to - from, packer.left.data());
  const size_t stride = bound.plan.parameter_columns[acc.parameter];
  float* out = bound.gradients->d_parameters[acc.parameter] + acc.first_column;
  alignas(64) float block[block_rows * block_columns];
  for (int n = 0; n < acc.right_width; n += block_columns) {
    const int columns = std::min(block_columns, acc.right_width - n);
    pack_right(right + n, right_stride, depth, columns, packer.right.data());
    for (int m = from; m < to; m += block_rows) {
      const int rows = std::min(block_rows, to - m);
      const Sink sink{block, block_columns, nullptr, 0};
      outer_kernel(rows)(depth, packer.left.data() + static_cast<size_t>(m - from) * depth, 0, packer.right.data(), 0, &sink);
      add_block(block, rows, columns, out + m * stride + n, stride);
    }
  }
}

inline void add_vector(const Bound& bound, const Accumulation& acc, int64_t first, int depth, int from, int to) {
  size_t stride;
  const float* left = place_in(bound, acc.left, first, stride);
  float* out = bound.gradients->d_parameters[acc.parameter];
  for (int j = from; j < to; j += Vec::lanes) {
    const int n = std::min(Vec::lanes, to - j);
    Vec sum = Vec::all(0.0f);
    for (int k = 0; k < depth; ++k) sum = sum + Vec::load(left + k * stride + j, n);
    (Vec::load(out + j, n) + sum).store(out + j, n);
  }
}

// Add what rows [first, last) give to this thread's share of every gradient.
inline void accumulate(const Bound& bound, int64_t first, int64_t last, int index, int threads, Packer& packer) {
  for (; first < last; first += depth_at_once) {
    const int depth = static_cast<int>(std::min<int64_t>(depth_at_once, last - first));
    for (const Accumulation& acc : bound.plan.accumulations) {
      if (!bound.gradients->d_parameters[acc.parameter]) continue;
      int from, to;
      share(acc.left_width, index, threads, from, to);
      if (acc.right.place == Place::none) add_vector(bound, acc, first, depth, from, to);
      else add_matrix(bound, acc, first, depth, from, to, packer);
    }
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
