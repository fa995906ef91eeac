// What a call has bound: the places of operands, and the caller's arrays.
#pragma once

#include "layout.h"

namespace elman {

// Rows of one step, or of a chunk: row `first`, then every `stride`th, `count` of them.
struct Rows {
  int64_t first = 0;
  int count = 0;
  int stride = 1;
  int sequence = 0;  // position of the first row's sequence; for rows of one step
  int step = -1;     // -1: rows of several steps
};

// A factor of gradients, to be packed once for all that read it; the columns of all factors are numbered through.
struct PackedFactor {
  Operand operand;
  bool left;
  int width, column;
};

struct Bound {
  const Plan& plan;
  const Batch& batch;
  const Arrays& arrays;
  const Products& products;
  const Gradients* gradients = nullptr;
  int64_t base_row = 0;  // row that lies first in the workspace
  std::vector<float*> slot;
  std::vector<size_t> slot_stride_of;
  std::vector<float*> vector;
  std::vector<float> vector_store;
  std::vector<float*> carry;
  std::vector<size_t> carry_stride;
  std::vector<float> carry_store;
  std::vector<const float*> packed;  // by group, in the order of the programme
  bool far = false;                  // the packed weights of a step do not stay in the second-level cache
  std::vector<PackedFactor> factors;
  std::vector<int> left_factor, right_factor;  // by accumulation

  Bound(const Plan&, const Batch&, const Arrays&, const Products&, float* workspace, bool keep);
  void bind_carry();
  void bind_factors();
  void bind_packed(const Programme& programme, const float* data);

  int columns_of(int width) const { return padded(width, products.granule); }

  // Rows of a slot from `row` on.
  float* row(Operand o, int64_t row) const { return slot[o.index] + (row - base_row) * static_cast<int64_t>(slot_stride_of[o.index]); }
};

inline float* aligned(float* p) { return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + 63) & ~uintptr_t{63}); }

}  // namespace elman
