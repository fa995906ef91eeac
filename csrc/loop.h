// The loop over time, forward and back.
#pragma once

#include "arena.h"
#include "attention.h"
#include "checksum.h"
#include "flush.h"
#include "gradient.h"
#include "masks.h"
#include "passes.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// A thread at work: subnormal numbers are zero, and products may begin.
class AtWork {
 public:
  explicit AtWork(const Products& products) : products_(products) { products.enter(); }
  ~AtWork() { products_.leave(); }

 private:
  const FlushToZero flush_;
  const Products& products_;
};

// Who does what of a step: all threads take columns of all rows and meet between passes, or each thread takes rows and meets nobody.
enum class Split { columns, rows };

// Weights that fit the second-level cache of a core may be read by every thread; larger ones are better divided.
inline Split split_for(const Products& products, const Programme& programme, const Batch& batch, int threads) {
  if (threads == 1) return Split::rows;
  const size_t floats = packed_floats(products, {{}, programme.step, {}});
  const bool many = batch.sequences >= 8 * threads;
  return (many && floats * sizeof(float) <= (size_t{5} << 20) / 4) ? Split::rows : Split::columns;
}

inline size_t groups_of(const std::vector<Pass>& passes) {
  size_t groups = 0;
  for (const Pass& pass : passes) groups += pass.groups.size();
  return groups;
}

struct Worker {
  const Bound& bound;
  const Scratch& scratch;
  Barrier& barrier;
  int index, threads;
  Split split;

  Rows share_of(int64_t first, int64_t last) const {
    const int64_t count = last - first;
    Rows rows;
    rows.first = first + count * index / threads;
    rows.count = static_cast<int>(first + count * (index + 1) / threads - rows.first);
    return rows;
  }

  // Rows are independent here, so each thread takes some and waits for nobody; as many at a time as its second-level
  // cache holds while the columns go by.
  void bulk(const std::vector<Pass>& passes, size_t group, int64_t first, int64_t last) const {
    const Rows all = share_of(first, last);
    for (Rows rows = all; rows.first < all.first + all.count; rows.first += bulk_rows) {
      rows.count = static_cast<int>(std::min<int64_t>(bulk_rows, all.first + all.count - rows.first));
      size_t at = group;
      for (const Pass& pass : passes) {
        run_rows(pass, bound, rows);
        run_columns(pass, bound.packed.data() + at, bound, scratch, rows, 0, bound.columns_of(pass.width));
        at += pass.groups.size();
      }
    }
  }

  void step(const std::vector<Pass>& passes, size_t group, int t) const {
    const int live = bound.batch.live[t];
    Rows rows{bound.batch.offset[t], live, 1, 0, t};
    if (split == Split::rows) {
      rows.first += index, rows.sequence = index, rows.stride = threads;
      rows.count = live > index ? (live - index + threads - 1) / threads : 0;
    }
    for (const Pass& pass : passes) {
      run_pass(pass, bound.packed.data() + group, rows);
      group += pass.groups.size();
    }
  }

 private:
  void run_pass(const Pass& pass, const float* const* packed, const Rows& rows) const {
    if (split == Split::rows) {
      run_rows(pass, bound, rows);
      return run_columns(pass, packed, bound, scratch, rows, 0, bound.columns_of(pass.width));
    }
    if (!pass.row_operations.empty()) {
      if (pass.wait_rows) barrier.wait();
      Rows mine = share_of(rows.first, rows.first + rows.count);
      run_rows(pass, bound, mine);
    }
    if (pass.wait) barrier.wait();
    const int blocks = padded(pass.width) / column_granule;
    run_columns(pass, packed, bound, scratch, rows, blocks * index / threads * column_granule,
                std::min(blocks * (index + 1) / threads * column_granule, bound.columns_of(pass.width)));
  }
};

// The last step of the chunk that begins at a step.
inline int chunk_end(const Batch& batch, int first) {
  int t = first;
  while (t < batch.steps && batch.live[t] > 0 && batch.offset[t] - batch.offset[first] < chunk_rows) ++t;
  return t;
}

inline void clear_padding(const Batch& batch, float* data, const Layout& layout, int width, int index, int threads) {
  if (batch.packed) return;
  for (int b = index; b < batch.sequences; b += threads)
    for (int t = batch.length[b]; t < batch.steps; ++t) std::fill_n(data + layout.place(batch, b, t), width, 0.0f);
}

inline void load_start(Bound& bound) {
  for (size_t s = 0; s < bound.plan.states.size(); ++s) {
    const State& state = bound.plan.states[s];
    const int columns = bound.columns_of(state.width);
    std::vector<float> value(columns, 0.0f);
    for (int b = 0; b < bound.batch.sequences; ++b) {
      std::copy_n(bound.arrays.start[s] + static_cast<size_t>(bound.batch.order[b]) * state.width, state.width, value.data());
      if (state.before.place != Place::none) std::copy_n(value.data(), columns, bound.row(state.before, b));
      if (state.rounded.place != Place::none) bound.products.round({value.data(), 0}, {bound.row(state.rounded, b), 0}, 1, 0, columns, state.width);
    }
  }
}

// Of the slot alone: other slots of the last row may lie where the workspace ends.
inline void move_rows(const Bound& bound, Operand o, int64_t row, int count) {
  const int columns = bound.columns_of(bound.plan.slot_groups[bound.plan.slots[o.index].group].width);
  const size_t stride = bound.slot_stride_of[o.index];
  for (int r = 0; r < count; ++r) std::copy_n(bound.row(o, row + r), columns, bound.slot[o.index] + r * stride);
}

// The states that leave a chunk are the first rows of the next one.
inline void move_states(Bound& bound, int64_t row) {
  const int t = bound.batch.step_of.size() > static_cast<size_t>(row) ? bound.batch.step_of[row] : -1;
  if (t >= 0)
    for (const State& state : bound.plan.states)
      for (const Operand o : {state.before, state.rounded})
        if (o.place != Place::none) move_rows(bound, o, row, bound.batch.live[t]);
  bound.base_row = row;
}

inline void forward(const Plan& plan, const Products& products, const Batch& batch, const Arrays& arrays, const float* packed, float* workspace, bool keep, int threads) {
  Bound bound(plan, batch, arrays, products, workspace, keep);
  bound.bind_packed(plan.forward, packed);
  workspace[0] = 1.0f;  // a call that fails leaves no values for the way back
  load_start(bound);
  std::vector<Scratch> scratch;
  for (int i = 0; i < threads; ++i) scratch.emplace_back(plan);
  run_on_team(threads, [&](int index, int used, Barrier& barrier) {
    const AtWork at_work(products);
    const Worker worker{bound, scratch[index], barrier, index, used, split_for(products, plan.forward, batch, used)};
    clear_padding(batch, arrays.y, arrays.y_layout, plan.output_size, index, used);
    for (int t = 0; t < batch.steps && batch.live[t] > 0;) {
      const int end = chunk_end(batch, t);
      worker.bulk(plan.forward.bulk_before, 0, batch.offset[t], batch.offset[end]);
      barrier.wait();
      for (; t < end; ++t) worker.step(plan.forward.step, groups_of(plan.forward.bulk_before), t);
      barrier.wait();
      if (!keep) {
        if (index == 0) move_states(bound, batch.offset[end]);
        barrier.wait();
      }
    }
  });
  workspace[0] = 0.0f;
}

inline void load_carry(Bound& bound) {
  for (size_t s = 0; s < bound.plan.states.size(); ++s) {
    const float* from = bound.gradients->d_final[s];
    const int width = bound.plan.states[s].width;
    for (int b = 0; from && b < bound.batch.sequences; ++b)
      std::memcpy(bound.carry[s] + b * bound.carry_stride[s], from + static_cast<size_t>(bound.batch.order[b]) * width, sizeof(float) * width);
  }
}

inline void store_start(const Bound& bound) {
  for (size_t s = 0; s < bound.plan.states.size(); ++s) {
    float* to = bound.gradients->d_start[s];
    const int width = bound.plan.states[s].width;
    for (int b = 0; to && b < bound.batch.sequences; ++b)
      std::memcpy(to + static_cast<size_t>(bound.batch.order[b]) * width, bound.carry[s] + b * bound.carry_stride[s], sizeof(float) * width);
  }
}

inline std::vector<int> chunk_starts(const Batch& batch) {
  std::vector<int> starts;
  for (int t = 0; t < batch.steps && batch.live[t] > 0; t = chunk_end(batch, t)) starts.push_back(t);
  return starts;
}

inline void backward(const Plan& plan, const Products& products, const Batch& batch, const Arrays& arrays, const Gradients& gradients, const float* packed, float* workspace, int threads) {
  Bound bound(plan, batch, arrays, products, workspace, true);
  bound.gradients = &gradients;
  bound.bind_packed(plan.backward, packed);
  bound.bind_carry();
  bound.bind_factors();
  load_carry(bound);
  const std::vector<int> starts = chunk_starts(batch);
  std::vector<Scratch> scratch;
  const Block block(take(products.gradient_floats(plan, threads) * sizeof(float)));
  float* const room = static_cast<float*>(block.get());
  for (int i = 0; i < threads; ++i) scratch.emplace_back(plan);
  workspace[0] = 1.0f;
  run_on_team(threads, [&](int index, int used, Barrier& barrier) {
    const AtWork at_work(products);
    const Worker worker{bound, scratch[index], barrier, index, used, split_for(products, plan.backward, batch, used)};
    if (gradients.dx && !gradients.add_dx) clear_padding(batch, gradients.dx, gradients.dx_layout, plan.input_size, index, used);
    for (size_t i = starts.size(); i-- > 0;) {
      const int first = starts[i], end = chunk_end(batch, first);
      for (int t = end; t-- > first;) worker.step(plan.backward.step, 0, t);
      barrier.wait();
      if (gradients.dx) worker.bulk(plan.backward.bulk_after, groups_of(plan.backward.step), batch.offset[first], batch.offset[end]);
      products.accumulate(bound, batch.offset[first], batch.offset[end], room, index, used, barrier);
    }
  });
  store_start(bound);
}

inline void pack_all(const Plan& plan, const Products& products, const Programme& programme, const std::vector<const float*>& parameters, float* out, int threads) {
  std::vector<int> strides(plan.parameter_columns.begin(), plan.parameter_columns.end());
  struct Piece {
    const Group* group;
    int width, column;
    float* out;
  };
  std::vector<Piece> pieces;
  for (const auto* passes : {&programme.bulk_before, &programme.step, &programme.bulk_after})
    for (const Pass& pass : *passes)
      for (const Group& g : pass.groups)
        for (int column = 0; column < padded(pass.width); column += column_granule, out += products.packed_floats(g))
          pieces.push_back({&g, pass.width, column, out});
  run_on_team(threads, [&](int index, int used, Barrier&) {
    for (size_t i = index; i < pieces.size(); i += used)
      products.pack(*pieces[i].group, pieces[i].width, pieces[i].column, parameters.data(), strides.data(), pieces[i].out);
  });
}

inline void function(Opcode code, const float* a, const float* b, const float* c, float* out, size_t n) {
  constexpr int width = 64;
  alignas(64) float in[3][width], result[width];
  for (size_t i = 0; i < n; i += width) {
    const size_t count = std::min<size_t>(width, n - i);
    const float* from[] = {a, b, c};
    for (int k = 0; k < 3; ++k)
      for (size_t j = 0; j < width; ++j) in[k][j] = from[k] && j < count ? from[k][i + j] : 1.0f;
    compute(code, {1, width}, {result, 0}, {in[0], 0}, {in[1], 0}, {in[2], 0});
    std::copy_n(result, count, out + i);
  }
}

inline constexpr Loops loops = {pack_all, forward, backward, compare, compare_back, mask, checksum, function};

}  // namespace elman::ELMAN_TARGET_NAMESPACE
