// Gradients of parameters: sums over rows of outer products, for a chunk of rows at a time.
#pragma once

#include "product.h"

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

inline void add_matrix(const Bound& bound, const Accumulation& acc, int64_t first, int depth, int from, int to, float* room) {
  if (from == to) return;
  const size_t left_stride = bound.slot_stride_of[acc.left.index], right_stride = bound.slot_stride_of[acc.right.index];
  const float *left = bound.row(acc.left, first), *right = bound.row(acc.right, first);
  float *const packed_right = room, *const packed_left = room + block_columns * depth_at_once;
  pack_left(left + from, left_stride, depth, to - from, packed_left);
  const size_t stride = bound.plan.parameter_columns[acc.parameter];
  float* out = bound.gradients->d_parameters[acc.parameter] + acc.first_column;
  alignas(64) float block[block_rows * block_columns];
  for (int n = 0; n < acc.right_width; n += block_columns) {
    const int columns = std::min(block_columns, acc.right_width - n);
    pack_right(right + n, right_stride, depth, columns, packed_right);
    for (int m = from; m < to; m += block_rows) {
      const int rows = std::min(block_rows, to - m);
      const Sink sink{block, block_columns, nullptr, 0};
      outer_kernel(rows)(depth, packed_left + static_cast<size_t>(m - from) * depth, 0, packed_right, 0, &sink);
      add_block(block, rows, columns, out + m * stride + n, stride);
    }
  }
}

inline void add_vector(const Bound& bound, const Accumulation& acc, int64_t first, int depth, int from, int to) {
  const size_t stride = bound.slot_stride_of[acc.left.index];
  const float* left = bound.row(acc.left, first);
  float* out = bound.gradients->d_parameters[acc.parameter];
  for (int j = from; j < to; j += Vec::lanes) {
    const int n = std::min(Vec::lanes, to - j);
    Vec sum = Vec::all(0.0f);
    for (int k = 0; k < depth; ++k) sum = sum + Vec::load(left + k * stride + j, n);
    (Vec::load(out + j, n) + sum).store(out + j, n);
  }
}

// Floats that a thread packs factors into.
inline size_t thread_room(const Plan& plan) {
  int widest = 0;
  for (const Accumulation& acc : plan.accumulations) widest = std::max(widest, acc.left_width);
  return static_cast<size_t>(widest + block_columns) * depth_at_once;
}

inline size_t gradient_floats(const Plan& plan, int threads) { return thread_room(plan) * threads; }

// Add what rows [first, last) give to this thread's share of every gradient.
inline void accumulate(const Bound& bound, int64_t first, int64_t last, float* room, int index, int threads, Barrier&) {
  room += thread_room(bound.plan) * index;
  for (; first < last; first += depth_at_once) {
    const int depth = static_cast<int>(std::min<int64_t>(depth_at_once, last - first));
    for (const Accumulation& acc : bound.plan.accumulations) {
      if (!bound.gradients->d_parameters[acc.parameter]) continue;
      int from, to;
      share(acc.left_width, index, threads, from, to);
      if (acc.right.place == Place::none) add_vector(bound, acc, first, depth, from, to);
      else add_matrix(bound, acc, first, depth, from, to, room);
    }
  }
}

inline int rounded_floats(int width) { return width; }

inline void round(View from, View to, int rows, int column, int columns, int) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; j += Vec::lanes) to_bf16(Vec::load(from.data + r * from.stride + j)).store(to.data + r * to.stride + column + j);
}

inline void nothing() {}

// By fused multiply-add of floats; of bfloat16 too, whose products are exact in float32.
inline constexpr Products float32 = {packed_floats, pack, multiply, rounded_floats, round, gradient_floats, accumulate, nothing, nothing};
inline constexpr Products bf16 = {packed_floats, pack_rounded, multiply, rounded_floats, round, gradient_floats, accumulate, nothing, nothing};

}  // namespace elman::ELMAN_TARGET_NAMESPACE
