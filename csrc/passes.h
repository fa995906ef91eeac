// Runs the passes of a programme over rows and columns.
#pragma once

#include <algorithm>
#include <array>
#include <functional>

#include "layout.h"
#include "pointwise.h"
#include "product.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// Rows of one step, or of a chunk: row `first`, then every `stride`th, `count` of them.
struct Rows {
  int64_t first = 0;
  int count = 0;
  int stride = 1;
  int sequence = 0;  // position of the first row's sequence; for rows of one step
  int step = -1;     // -1: rows of several steps
};

// Everything a call has bound: the places of operands, and the caller's arrays.
struct Bound {
  const Plan& plan;
  const Batch& batch;
  const Arrays& arrays;
  const Gradients* gradients = nullptr;
  int64_t base_row = 0;  // row that lies first in the workspace
  std::vector<float*> slot;
  std::vector<size_t> slot_stride_of;
  std::vector<float*> vector;
  std::vector<float> vector_store;
  std::vector<float*> carry;
  std::vector<size_t> carry_stride;
  std::vector<float> carry_store;
  std::vector<PackedGroup> packed;  // by group, in the order of the programme

  Bound(const Plan& p, const Batch& b, const Arrays& a, float* workspace, bool keep);
  void bind_carry();
  void bind_packed(const Programme& programme, const float* data);
};

inline float* aligned(float* p) { return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + 63) & ~uintptr_t{63}); }

inline Bound::Bound(const Plan& p, const Batch& b, const Arrays& a, float* workspace, bool keep) : plan(p), batch(b), arrays(a) {
  std::vector<float*> group_base;
  float* next = aligned(workspace + workspace_header);
  for (const SlotGroup& g : p.slot_groups) {
    group_base.push_back(next);
    next += static_cast<size_t>(capacity(b, keep)) * row_stride(g);
  }
  for (const Slot& s : p.slots) {
    const SlotGroup& g = p.slot_groups[s.group];
    slot.push_back(group_base[s.group] + static_cast<size_t>(s.position) * slot_stride(g.width));
    slot_stride_of.push_back(row_stride(g));
  }
  size_t floats = 16;
  for (const VectorSource& v : p.vectors) floats += padded(v.width);
  vector_store.assign(floats, 0.0f);
  next = aligned(vector_store.data());
  for (const VectorSource& v : p.vectors) {
    vector.push_back(next);
    if (v.parameter < 0) std::fill_n(next, v.width, v.number);
    else std::copy_n(a.parameters[v.parameter], v.width, next);
    next += padded(v.width);
  }
}

inline void Bound::bind_carry() {
  size_t floats = 16;
  for (const State& s : plan.states) floats += static_cast<size_t>(slot_stride(s.width)) * batch.sequences;
  carry_store.assign(floats, 0.0f);
  float* next = aligned(carry_store.data());
  for (const State& s : plan.states) {
    carry.push_back(next);
    carry_stride.push_back(slot_stride(s.width));
    next += static_cast<size_t>(slot_stride(s.width)) * batch.sequences;
  }
}

inline void Bound::bind_packed(const Programme& programme, const float* data) {
  for (const auto* passes : {&programme.bulk_before, &programme.step, &programme.bulk_after})
    for (const Pass& pass : *passes)
      for (const Group& g : pass.groups) {
        const int targets = static_cast<int>(g.targets.size());
        packed.push_back({data, panel_columns(targets) * targets * g.depth});
        data += static_cast<size_t>(padded(pass.width)) * targets * g.depth;
      }
}

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

  void products(const Group& group, const PackedGroup& packed) const {
    const int targets = static_cast<int>(group.targets.size()), width = panel_columns(targets);
    const View a = view(group.operand, 0);
    std::array<View, 4> to, from;
    for (int g = 0; g < targets; ++g) {
      to[g] = view(group.targets[g], column_);
      from[g] = view(group.starts[g], column_);
    }
    const auto sinks_at = [&](int row, int shift) {
      std::array<Sink, 4> sinks;
      for (int g = 0; g < targets; ++g)
        sinks[g] = {to[g].data + row * to[g].stride + shift, to[g].stride,
                    from[g].data ? from[g].data + row * from[g].stride + shift : nullptr, from[g].stride};
      return sinks;
    };
    const int together = panels_at_once(targets) * width;
    const Kernel wide = tile_.rows <= 2 ? wide_kernel_for(targets, tile_.rows) : nullptr;
    for (int shift = 0; shift < tile_.columns;) {
      const float* panel = packed.panel(column_ + shift, width);
      if (wide && shift + together <= tile_.columns) {
        wide(group.depth, a.data, a.stride, panel, packed.panel_size, sinks_at(0, shift).data());
        shift += together;
        continue;
      }
      const int chunks = (tile_.rows + most_rows(targets) - 1) / most_rows(targets);
      for (int i = 0, row = 0; i < chunks; ++i) {
        const int count = (tile_.rows - row + chunks - i - 1) / (chunks - i);
        kernel_for(targets, count)(group.depth, a.data + row * a.stride, a.stride, panel, packed.panel_size, sinks_at(row, shift).data());
        row += count;
      }
      shift += width;
    }
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
      default: compute(i.code, tile_, view(i.target, column_), view(i.a, column_), view(i.b, column_), view(i.c, column_));
    }
  }

 private:
  View view(Operand o, int column) const {
    switch (o.place) {
      case Place::rows: {
        const size_t stride = bound_.slot_stride_of[o.index];
        return {bound_.slot[o.index] + (rows_.first - bound_.base_row) * stride + column, stride * rows_.stride};
      }
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
        std::memcpy(out, row + column_, sizeof(float) * real);
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
      else std::memcpy(row, value, sizeof(float) * real);
    }
  }

  // The state after a step goes to the row of the sequence's next step, or to its final state.
  void store_next(const Instruction& i) const {
    const State& state = bound_.plan.states[i.number];
    const Batch& batch = bound_.batch;
    const View from = view(i.a, column_);
    const size_t stride = bound_.slot_stride_of[state.before.index];
    float* next = bound_.slot[state.before.index] + (batch.offset[rows_.step + 1] - bound_.base_row) * stride + column_;
    const int real = std::clamp(state.width - column_, 0, tile_.columns);
    for (int r = 0; r < tile_.rows; ++r) {
      const float* value = from.data + r * from.stride;
      const int b = rows_.sequence + r * rows_.stride;
      if (b < batch.live[rows_.step + 1]) std::memcpy(next + b * stride, value, sizeof(float) * tile_.columns);
      else std::memcpy(bound_.arrays.final[i.number] + static_cast<size_t>(batch.order[b]) * state.width + column_, value, sizeof(float) * real);
    }
  }

  const Bound& bound_;
  const Scratch& scratch_;
  const Rows& rows_;
  const int column_;
  const Tile tile_;
};

// Products and pointwise operations of a pass on columns [from, to).
inline void run_columns(const Pass& pass, const PackedGroup* packed, const Bound& bound, const Scratch& scratch, const Rows& rows, int from, int to) {
  if (rows.count == 0) return;
  const int tiles = (rows.count + tile_rows - 1) / tile_rows;
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
  const auto at = [&](Operand o, int r) {
    return bound.slot[o.index] + (rows.first + static_cast<int64_t>(r) * rows.stride - bound.base_row) * bound.slot_stride_of[o.index];
  };
  for (const Instruction& i : pass.row_operations)
    for (int r = 0; r < rows.count; ++r) {
      if (i.code == Opcode::layer_norm) layer_norm(at(i.target, r), at(i.a, r), i.number);
      else layer_norm_backward(at(i.target, r), at(i.a, r), at(i.b, r), i.number);
    }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
