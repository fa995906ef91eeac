// Gradients of parameters: sums over rows of outer products, for a chunk of rows at a time.
#pragma once

#include "pointwise.h"
#include "product.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// What a block of the right factor holds stays in a near cache while the rows of the left one go by, and what is packed of
// the left one at a time stays in the second-level cache while all of the right one goes by.
inline constexpr int block_rows = 6, left_rows = 16 * block_rows, block_columns = narrow ? unit : 64, depth_at_once = 640;

template <int Q>
inline Kernel outer_of(int rows) {
  static constexpr Kernel table[] = {nullptr, best_kernel<1, 1, Q, true>(), best_kernel<2, 1, Q, true>(), best_kernel<3, 1, Q, true>(),
                                     best_kernel<4, 1, Q, true>(), best_kernel<5, 1, Q, true>(), best_kernel<6, 1, Q, true>()};
  return table[rows];
}

inline Kernel outer_kernel(int rows, int units) {
  switch (units) {
    case 1: return outer_of<1>(rows);
    case 2: return outer_of<2>(rows);
    case 3: return outer_of<3>(rows);
    default: return outer_of<4>(rows);
  }
}

// [block][k][row], the last block as narrow as it is. A copy of eight floats is one instruction; the two that are too
// many are overwritten by the next.
inline void pack_left(const float* from, size_t stride, int depth, int rows, float* out) {
  for (int m = 0; m < rows; m += block_rows, out += static_cast<size_t>(block_rows) * depth) {
    const int count = std::min(block_rows, rows - m);
    const float* row = from + m;
    int k = 0;
    if (m + 8 <= rows)
      for (; k < depth - 1; ++k, row += stride) std::memcpy(out + static_cast<size_t>(k) * block_rows, row, 8 * sizeof(float));
    for (; k < depth; ++k, row += stride)
      for (int i = 0; i < count; ++i) out[static_cast<size_t>(k) * count + i] = row[i];
  }
}

// [block][k][column], the last block of as many units as it has; this thread's share of blocks.
inline void pack_right(const float* from, size_t stride, int depth, int width, int index, int threads, float* out) {
  for (int n = index * block_columns; n < width; n += threads * block_columns) {
    const int columns = std::min(block_columns, width - n), wide = (columns + unit - 1) / unit * unit;
    float* to = out + static_cast<size_t>(n) * depth;
    for (int k = 0; k < depth; ++k, to += wide) {
      copy_columns(to, from + k * stride + n, columns);
      std::fill(to + columns, to + wide, 0.0f);
    }
  }
}

inline void add_block(const float* block, int wide, int rows, int columns, float* to, size_t stride) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; j += Vec::lanes) {
      const int n = std::min(Vec::lanes, columns - j);
      float* const out = to + r * stride + j;
      (Vec::load(out, n) + Vec::load(block + r * wide + j)).store(out, n);
    }
}

// This thread's share of rows of a matrix gradient.
inline void share(int rows, int index, int threads, int& from, int& to) {
  const int blocks = (rows + block_rows - 1) / block_rows;
  from = std::min(rows, blocks * index / threads * block_rows);
  to = std::min(rows, blocks * (index + 1) / threads * block_rows);
}

// Rows [from, to) of a matrix gradient, from packed factors.
inline void add_matrix(const Bound& bound, const Accumulation& acc, int depth, int from, int to, const float* left, const float* right) {
  const size_t stride = bound.plan.parameter_columns[acc.parameter];
  float* out = bound.gradients->d_parameters[acc.parameter] + acc.first_column;
  alignas(64) float block[block_rows * block_columns];
  for (int n = 0; n < acc.right_width; n += block_columns) {
    const int columns = std::min(block_columns, acc.right_width - n), units = (columns + unit - 1) / unit;
    for (int m = from; m < to; m += block_rows) {
      const int rows = std::min(block_rows, to - m);
      // Gradients of large weights lie in memory, and come nearer while the block is computed.
      for (int r = 0; r < rows; ++r)
        for (int j = 0; j < columns; j += 16) __builtin_prefetch(out + (m + r) * stride + n + j, 1);
      const Sink sink{block, static_cast<size_t>(units * unit), nullptr, 0};
      outer_kernel(rows, units)(depth, left + static_cast<size_t>(m - from) * depth, 0, right + static_cast<size_t>(n) * depth, 0, &sink, {});
      add_block(block, units * unit, rows, columns, out + m * stride + n, stride);
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

// Room for the right factors, which all threads read, and for one left factor of each thread.
inline size_t gradient_floats(const Plan& plan, int threads) {
  size_t columns = 0;
  for (const Accumulation& acc : plan.accumulations) columns += padded(acc.left_width) + padded(acc.right_width);
  return (columns + static_cast<size_t>(left_rows) * threads) * depth_at_once;
}

// Add what rows [first, first + depth) give to this thread's share of all gradients with one left factor.
inline void add_products(const Bound& bound, int factor, int64_t first, int depth, const float* right, float* left, int index, int threads) {
  const PackedFactor& f = bound.factors[factor];
  int from, to;
  share(f.width, index, threads, from, to);
  for (; from < to; from += left_rows) {
    const int end = std::min(from + left_rows, to);
    pack_left(bound.row(f.operand, first) + from, bound.slot_stride_of[f.operand.index], depth, end - from, left);
    for (size_t n = 0; n < bound.plan.accumulations.size(); ++n)
      if (bound.left_factor[n] == factor)
        add_matrix(bound, bound.plan.accumulations[n], depth, from, end, left, right + static_cast<size_t>(bound.factors[bound.right_factor[n]].column) * depth);
  }
}

// Add what rows [first, last) give to this thread's share of every gradient. The threads pack right factors once, meet,
// and pack the left factors that they multiply with them.
inline void accumulate(const Bound& bound, int64_t first, int64_t last, float* room, int index, int threads, Barrier& barrier) {
  float* const left = room + gradient_floats(bound.plan, index);
  const int64_t pieces = (last - first + depth_at_once - 1) / depth_at_once;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = first + (last - first) * piece / pieces;
    const int depth = static_cast<int>(first + (last - first) * (piece + 1) / pieces - begin);
    for (const PackedFactor& f : bound.factors)
      if (!f.left)
        pack_right(bound.row(f.operand, begin), bound.slot_stride_of[f.operand.index], depth, f.width, index, threads, room + static_cast<size_t>(f.column) * depth);
    barrier.wait();
    for (size_t f = 0; f < bound.factors.size(); ++f)
      if (bound.factors[f].left) add_products(bound, static_cast<int>(f), begin, depth, room, left, index, threads);
    for (const Accumulation& acc : bound.plan.accumulations) {
      if (!bound.gradients->d_parameters[acc.parameter] || acc.right.place != Place::none) continue;
      int from, to;
      share(acc.left_width, index, threads, from, to);
      add_vector(bound, acc, begin, depth, from, to);
    }
    barrier.wait();  // nobody reads the packed factors any more
  }
}

inline int rounded_floats(int width) { return width; }

inline void round(View from, View to, int rows, int column, int columns, int) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; j += Vec::lanes) to_bf16(Vec::load(from.data + r * from.stride + j)).store(to.data + r * to.stride + column + j);
}

inline void nothing() {}

// By fused multiply-add of floats; of bfloat16 too, whose products are exact in float32.
inline constexpr Products float32 = {unit, packed_floats, pack, multiply, rounded_floats, round, gradient_floats, accumulate, nothing, nothing};
inline constexpr Products bf16 = {unit, packed_floats, pack_rounded, multiply, rounded_floats, round, gradient_floats, accumulate, nothing, nothing};

}  // namespace elman::ELMAN_TARGET_NAMESPACE
