#include "bound.h"

#include <algorithm>

namespace elman {

Bound::Bound(const Plan& p, const Batch& b, const Arrays& a, const Products& m, float* workspace, bool keep)
    : plan(p), batch(b), arrays(a), products(m) {
  std::vector<float*> group_base;
  float* next = aligned(workspace + workspace_header);
  for (const SlotGroup& g : p.slot_groups) {
    group_base.push_back(next);
    next += static_cast<size_t>(capacity(b, keep)) * row_stride(g, products.granule);
  }
  for (const Slot& s : p.slots) {
    const SlotGroup& g = p.slot_groups[s.group];
    slot.push_back(group_base[s.group] + static_cast<size_t>(s.position) * slot_stride(g.width, products.granule));
    slot_stride_of.push_back(row_stride(g, products.granule));
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

void Bound::bind_carry() {
  size_t floats = 16;
  for (const State& s : plan.states) floats += static_cast<size_t>(slot_stride(s.width, products.granule)) * batch.sequences;
  carry_store.assign(floats, 0.0f);
  float* next = aligned(carry_store.data());
  for (const State& s : plan.states) {
    carry.push_back(next);
    carry_stride.push_back(slot_stride(s.width, products.granule));
    next += static_cast<size_t>(slot_stride(s.width, products.granule)) * batch.sequences;
  }
}

void Bound::bind_factors() {
  int column = 0;
  const auto find = [&](Operand operand, bool left, int width) {
    for (size_t i = 0; i < factors.size(); ++i)
      if (factors[i].operand.index == operand.index && factors[i].left == left) return static_cast<int>(i);
    factors.push_back({operand, left, width, column});
    column += padded(width);
    return static_cast<int>(factors.size()) - 1;
  };
  for (const Accumulation& acc : plan.accumulations) {
    const bool matrix = gradients->d_parameters[acc.parameter] && acc.right.place != Place::none;
    left_factor.push_back(matrix ? find(acc.left, true, acc.left_width) : -1);
    right_factor.push_back(matrix ? find(acc.right, false, acc.right_width) : -1);
  }
}

void Bound::bind_packed(const Programme& programme, const float* data) {
  far = packed_floats(products, {{}, programme.step, {}}) * sizeof(float) > far_bytes;
  for (const auto* passes : {&programme.bulk_before, &programme.step, &programme.bulk_after})
    for (const Pass& pass : *passes)
      for (const Group& g : pass.groups) {
        packed.push_back(data);
        data += products.packed_floats(g) * (padded(pass.width) / column_granule);
      }
}

}  // namespace elman
