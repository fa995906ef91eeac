#include "call.h"

#include <algorithm>
#include <numeric>

#include "layout.h"

namespace elman {
namespace {

// Rows of the steps, once the order and the lengths are known.
void place_rows(Batch& batch) {
  batch.live.assign(batch.steps + 1, 0);
  batch.offset.assign(batch.steps + 1, 0);
  for (int t = 0, live = batch.sequences; t < batch.steps; ++t) {
    while (live > 0 && batch.length[live - 1] <= t) --live;
    batch.live[t] = live;
    batch.offset[t + 1] = batch.offset[t] + live;
  }
  batch.step_of.resize(batch.rows());
  for (int t = 0; t < batch.steps; ++t) std::fill_n(batch.step_of.begin() + batch.offset[t], batch.live[t], t);
}

}  // namespace

Batch make_batch(int sequences, int steps, const int64_t* lengths, bool reverse) {
  Batch batch;
  batch.sequences = sequences, batch.steps = steps, batch.reverse = reverse;
  batch.order.resize(sequences);
  std::iota(batch.order.begin(), batch.order.end(), 0);
  if (lengths) std::stable_sort(batch.order.begin(), batch.order.end(), [=](int a, int b) { return lengths[a] > lengths[b]; });
  batch.length.resize(sequences);
  for (int b = 0; b < sequences; ++b) batch.length[b] = lengths ? static_cast<int>(lengths[batch.order[b]]) : steps;
  place_rows(batch);
  return batch;
}

Batch make_packed_batch(int steps, const int64_t* sizes, bool reverse) {
  Batch batch;
  batch.sequences = static_cast<int>(sizes[0]), batch.steps = steps, batch.reverse = reverse, batch.packed = true;
  batch.order.resize(batch.sequences);
  std::iota(batch.order.begin(), batch.order.end(), 0);
  batch.length.resize(batch.sequences);
  for (int t = 0; t < steps; ++t) std::fill_n(batch.length.begin(), sizes[t], t + 1);
  place_rows(batch);
  return batch;
}

size_t workspace_floats(const Plan& plan, const Products& products, const Batch& batch, bool keep) {
  size_t floats = workspace_header + 16;  // the last 16: for alignment
  for (const SlotGroup& g : plan.slot_groups) floats += static_cast<size_t>(capacity(batch, keep)) * row_stride(g, products.granule);
  return floats;
}

size_t packed_floats(const Products& products, const Programme& programme) {
  size_t floats = 0;
  for (const auto* passes : {&programme.bulk_before, &programme.step, &programme.bulk_after})
    for (const Pass& pass : *passes)
      for (const Group& g : pass.groups) floats += products.packed_floats(g) * (padded(pass.width) / column_granule);
  return floats;
}

}  // namespace elman
