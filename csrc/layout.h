// Where values lie in the workspace.
#pragma once

#include <algorithm>

#include "call.h"

namespace elman {

inline constexpr int column_granule = 32;  // weights are packed, and columns owned and tiled, by this many
inline constexpr int chunk_rows = 512;     // rows whose products with the input are done at a time
inline constexpr size_t far_bytes = size_t{3} << 19;  // weights of a step beyond this stream through the second-level cache
inline constexpr int bulk_rows = 128;      // of these, that a thread does before it turns to others

inline int padded(int width, int granule = column_granule) { return (width + granule - 1) / granule * granule; }

// Slots and rows lie an odd number of cache lines apart: at powers of two all rows of a tile would fall into the same
// few sets of the first-level cache.
inline int odd_lines(int floats) { return (floats / 16 % 2 == 0) ? floats + 16 : floats; }
inline int slot_stride(int width, int granule = column_granule) { return odd_lines(padded(width, granule)); }
inline int row_stride(const SlotGroup& g, int granule) { return odd_lines(slot_stride(g.width, granule) * g.slots); }

// Rows that the workspace holds. Without `keep` the rows of a chunk, and room for the states that leave it.
inline int64_t capacity(const Batch& batch, bool keep) {
  if (keep) return batch.rows();
  int64_t most = 0;
  for (int t = 0; t < batch.steps;) {
    const int first = t;
    while (t < batch.steps && batch.offset[t] - batch.offset[first] < chunk_rows) ++t;
    most = std::max(most, batch.offset[t] - batch.offset[first]);
  }
  return most + batch.sequences;
}

}  // namespace elman
