// Runs the passes of a programme over rows and columns.
#pragma once

#include <algorithm>
#include <functional>

#include "bound.h"
#include "pointwise.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

inline constexpr int tile_rows = 32, tile_floats = 1024;

// Registers of a tile, one set a thread.
struct Scratch {
  std::vector<float> store;
  float* tiles = nullptr;
  explicit Scratch(const Plan& plan) {
    int most = 0;
    for (const Programme* p : {&plan.forward, &plan.backward})
      for (const auto* passes : {&p->bulk_before, &p->step, &p->bulk_after})
        for (const Pass& pass : *passes) most = std::max(most, pass.tiles);
    store.resize(static_cast<size_t>(most) * tile_floats + 16);
    tiles = aligned(store.data());
  }
};

// Where the row of a caller's array lies that a row of the workspace stands for.
inline int64_t place_of(const Batch& batch, const Layout& layout, int64_t row, bool reversible) {
  const int t = batch.step_of[row];
  const int b = static_cast<int>(row - batch.offset[t]);
  return layout.place(batch, b, reversible && batch.reverse ? batch.length[b] - 1 - t : t);
}

// One tile: rows x columns of a pass.
class TileRun {
 public:
  TileRun(const Bound& bound, const Scratch& scratch, const Rows& rows, int column, int columns)
      : bound_(bound), scratch_(scratch), rows_(rows), column_(column), tile_{rows.count, columns} {}

  void products(const Group& group, const float* packed) const {
    Product product{group, packed, tile_.rows, column_, tile_.columns, bound_.far, view(group.operand, 0), {}, {}};
    for (size_t g = 0; g < group.targets.size(); ++g) {
      product.to[g] = view(group.targets[g], column_);
      product.from[g] = view(group.starts[g], column_);
    }
    bound_.products.multiply(product);
  }

  void run(const Instruction& i) const {
    switch (i.code) {
      case Opcode::load_x: return load(i, bound_.arrays.x, bound_.arrays.x_layout, bound_.plan.input_size, true);
      case Opcode::load_dy: return load(i, bound_.gradients->dy, bound_.gradients->dy_layout, bound_.plan.output_size, true);
      case Opcode::load_mask: {
        const Mask& m = bound_.arrays.masks[i.number];
        const int width = bound_.plan.mask_sizes[i.number];
        return load(i, m.data, {m.steps * width, m.steps == 1 ? 0 : width}, width, false);
      }
      case Opcode::store_y: return store(i, bound_.arrays.y, bound_.arrays.y_layout, bound_.plan.output_size, false);
      case Opcode::store_dx: return store(i, bound_.gradients->dx, bound_.gradients->dx_layout, bound_.plan.input_size, bound_.gradients->add_dx);
      case Opcode::store_next: return store_next(i);
      case Opcode::round: return bound_.products.round(view(i.a, column_), view(i.target, 0), tile_.rows, column_, tile_.columns, i.number);
      default: compute(i.code, tile_, view(i.target, column_), view(i.a, column_), view(i.b, column_), view(i.c, column_));
    }
  }

 private:
  View view(Operand o, int column) const {
    switch (o.place) {
      case Place::rows:
      case Place::rounded: return {bound_.row(o, rows_.first) + column, bound_.slot_stride_of[o.index] * rows_.stride};
      case Place::tile: return {scratch_.tiles + static_cast<size_t>(o.index) * tile_floats + (column - column_), static_cast<size_t>(tile_.columns)};
      case Place::vector: return {bound_.vector[o.index] + column, 0};
      case Place::carry: {
        const size_t stride = bound_.carry_stride[o.index];
        return {bound_.carry[o.index] + rows_.sequence * stride + column, stride * rows_.stride};
      }
      case Place::none: break;
    }
    return {};
  }

  void load(const Instruction& i, const float* from, const Layout& layout, int width, bool reversible) const {
    const View to = view(i.target, column_);
    const int real = std::clamp(width - column_, 0, tile_.columns);
    for (int r = 0; r < tile_.rows; ++r) {
      float* out = to.data + r * to.stride;
      if (from) {
        const float* row = from + place_of(bound_.batch, layout, rows_.first + static_cast<int64_t>(r) * rows_.stride, reversible);
        copy_columns(out, row + column_, real);
        std::fill(out + real, out + tile_.columns, 0.0f);
      } else {
        std::fill_n(out, tile_.columns, 0.0f);
      }
    }
  }

  void store(const Instruction& i, float* to, const Layout& layout, int width, bool add) const {
    const View from = view(i.a, column_);
    const int real = std::clamp(width - column_, 0, tile_.columns);
    for (int r = 0; r < tile_.rows; ++r) {
      float* row = to + place_of(bound_.batch, layout, rows_.first + static_cast<int64_t>(r) * rows_.stride, true) + column_;
      const float* value = from.data + r * from.stride;
      if (add) std::transform(value, value + real, row, row, std::plus<float>());
      else copy_columns(row, value, real);
    }
  }

  // The state after a step goes to the row of the sequence's next step, or to its final state.
  void store_next(const Instruction& i) const {
    const State& state = bound_.plan.states[i.number];
    const Batch& batch = bound_.batch;
    const View from = view(i.a, column_);
    const int real = std::clamp(state.width - column_, 0, tile_.columns);
    const int live = batch.live[rows_.step + 1] - rows_.sequence;  // of the sequences from this tile's first on
    const int on = std::clamp((live + rows_.stride - 1) / rows_.stride, 0, tile_.rows);
    if (on > 0 && state.before.place != Place::none) {
      const View next = next_rows(state.before);
      for (int r = 0; r < on; ++r) copy_columns(next.data + r * next.stride + column_, from.data + r * from.stride, tile_.columns);
    }
    if (on > 0 && state.rounded.place != Place::none)
      bound_.products.round(from, next_rows(state.rounded), on, column_, tile_.columns, state.width);
    for (int r = on; r < tile_.rows; ++r) {
      const int64_t sequence = batch.order[rows_.sequence + r * rows_.stride];
      copy_columns(bound_.arrays.final[i.number] + sequence * state.width + column_, from.data + r * from.stride, real);
    }
  }

  View next_rows(Operand o) const {
    return {bound_.row(o, bound_.batch.offset[rows_.step + 1] + rows_.sequence), bound_.slot_stride_of[o.index] * rows_.stride};
  }

  const Bound& bound_;
  const Scratch& scratch_;
  const Rows& rows_;
  const int column_;
  const Tile tile_;
};

// Products and pointwise operations of a pass on columns [from, to).
inline void run_columns(const Pass& pass, const float* const* packed, const Bound& bound, const Scratch& scratch, const Rows& rows, int from, int to) {
  if (rows.count == 0) return;
  // What is pointwise throughout meets each value once: few rows, so that memory is read in long stretches.
  const int most = pass.groups.empty() ? std::clamp(tile_floats / std::max(to - from, 1), 1, tile_rows) : tile_rows;
  const int tiles = (rows.count + most - 1) / most;
  const int tallest = (rows.count + tiles - 1) / tiles;
  const int columns = std::max(column_granule, tile_floats / tallest / column_granule * column_granule);
  for (int column = from; column < to; column += columns) {
    Rows part = rows;
    for (int i = 0, row = 0; i < tiles; ++i, row += part.count) {
      part.count = (rows.count - row + tiles - i - 1) / (tiles - i);
      part.first = rows.first + static_cast<int64_t>(row) * rows.stride;
      part.sequence = rows.sequence + row * rows.stride;
      const TileRun tile(bound, scratch, part, column, std::min(columns, to - column));
      for (size_t g = 0; g < pass.groups.size(); ++g) tile.products(pass.groups[g], packed[g]);
      for (const Instruction& instruction : pass.instructions) tile.run(instruction);
    }
  }
}

// Operations over whole rows; their operands lie in rows.
inline void run_rows(const Pass& pass, const Bound& bound, const Rows& rows) {
  const auto at = [&](Operand o, int r) { return bound.row(o, rows.first + static_cast<int64_t>(r) * rows.stride); };
  for (const Instruction& i : pass.row_operations)
    for (int r = 0; r < rows.count; ++r) {
      if (i.code == Opcode::layer_norm) layer_norm(at(i.target, r), at(i.a, r), i.number);
      else layer_norm_backward(at(i.target, r), at(i.a, r), at(i.b, r), i.number);
    }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
