#include "stepper.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "arena.h"
#include "dispatch.h"
#include "layout.h"

namespace elman {

TokenTable::TokenTable(int64_t vocabulary, size_t row_floats, size_t most_bytes)
    : rows_(vocabulary), row_floats_(row_floats), most_bytes_(most_bytes) {}

TokenTable::~TokenTable() {
  for (auto& row : rows_) delete[] row.load();
}

std::unique_ptr<float[]> TokenTable::fresh() {
  if (bytes() + row_floats_ * sizeof(float) > most_bytes_) return nullptr;
  return std::unique_ptr<float[]>(new (std::nothrow) float[row_floats_]);
}

void TokenTable::keep(int64_t token, std::unique_ptr<float[]> row) {
  float* none = nullptr;
  if (!rows_[token].compare_exchange_strong(none, row.get(), std::memory_order_acq_rel)) return;
  row.release();
  bytes_ += row_floats_ * sizeof(float);
}

Draws::Draws(const std::vector<uint64_t>& seeds) {
  for (const uint64_t seed : seeds) twisters_.emplace_back(static_cast<uint32_t>(seed));
}

RunSteps find_steps(const std::string& target) {
  if (!find_target(target)) return nullptr;
#if defined(ELMAN_X86_TARGETS)
  if (target == "avx2") return &avx2_steps;
  if (target != "scalar") return &avx512_steps;
#elif defined(ELMAN_ARM_TARGETS)
  if (target == "neon") return &neon_steps;
#endif
  return &scalar_steps;
}

double Draws::next(size_t stream) {
  const uint64_t high = twisters_[stream](), low = twisters_[stream]();
  return static_cast<double>((high << 32 | low) & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

size_t panel_bytes(Precision precision, int depth) {
  switch (precision) {
    case Precision::float32: return sizeof(float) * panel_width * depth;
    case Precision::bfloat16: return sizeof(uint16_t) * panel_width * depth;
    default: return int8_header + static_cast<size_t>(panel_width) * ((depth + 3) / 4 * 4);
  }
}

namespace {

// Columns of a matrix as a product reads them: element (k, j) is term k of column j.
struct Matrix {
  const float* data;
  size_t by_term, by_column;
  int columns;

  float at(int k, int j) const { return j < columns ? data[k * by_term + j * by_column] : 0.0f; }
};

// To the nearest, ties to even; NaN does not come here.
uint16_t rounded_to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void pack_float32(const Matrix& m, int depth, int first, float* out) {
  for (int k = 0; k < depth; ++k)
    for (int j = 0; j < panel_width; ++j) out[k * panel_width + j] = m.at(k, first + j);
}

void pack_bfloat16(const Matrix& m, int depth, int first, uint16_t* out) {
  for (int k = 0; k < depth; ++k)
    for (int j = 0; j < panel_width; ++j)
      out[k * panel_width + j % 16 * 2 + j / 16] = rounded_to_bfloat16(m.at(k, first + j));
}

// column = scale * whole numbers from -127 to 127.
void pack_int8(const Matrix& m, int depth, int first, std::byte* out) {
  float scales[panel_width];
  int32_t sums[panel_width] = {};
  auto* numbers = reinterpret_cast<int8_t*>(out + int8_header);
  std::memset(numbers, 0, panel_bytes(Precision::int8, depth) - int8_header);
  for (int j = 0; j < panel_width; ++j) {
    float largest = 0.0f;
    for (int k = 0; k < depth; ++k) largest = std::max(largest, std::fabs(m.at(k, first + j)));
    scales[j] = largest / 127.0f;
    for (int k = 0; k < depth && largest > 0.0f; ++k) {
      const auto n = static_cast<int8_t>(std::nearbyint(std::clamp(m.at(k, first + j) / scales[j], -127.0f, 127.0f)));
      numbers[static_cast<size_t>(k / 4) * 4 * panel_width + j / 16 * 64 + j % 16 * 4 + k % 4] = n;
      sums[j] += n;
    }
  }
  std::memcpy(out, scales, sizeof scales);
  std::memcpy(out + sizeof scales, sums, sizeof sums);
}

const std::byte* pack(StepModel& model, Precision precision, const Matrix& m, int depth) {
  const int panels = padded(m.columns) / panel_width;
  const size_t bytes = panel_bytes(precision, depth);
  Block block(take(bytes * panels));  // owned before the list grows, which may fail
  model.blocks.push_back(std::move(block));
  model.weight_bytes += bytes * panels;
  auto* const out = static_cast<std::byte*>(model.blocks.back().get());
  for (int p = 0; p < panels; ++p) {
    std::byte* const to = out + p * bytes;
    if (precision == Precision::float32) pack_float32(m, depth, p * panel_width, reinterpret_cast<float*>(to));
    else if (precision == Precision::bfloat16) pack_bfloat16(m, depth, p * panel_width, reinterpret_cast<uint16_t*>(to));
    else pack_int8(m, depth, p * panel_width, to);
  }
  model.work += static_cast<int64_t>(depth) * panels * panel_width;
  return out;
}

std::vector<StepPass> packed_passes(StepModel& model, Precision precision, const std::vector<Pass>& passes, const Plan& plan,
                                    const std::vector<const float*>& parameters) {
  std::vector<StepPass> found;
  for (const Pass& pass : passes) {
    StepPass step{&pass, {}};
    for (const Group& g : pass.groups) {
      StepGroup group{g.operand, g.depth, precision, {}};
      for (size_t i = 0; i < g.targets.size(); ++i) {
        const Factor& f = g.factors[i];
        const size_t stride = plan.parameter_columns[f.parameter];
        const float* const w = parameters[f.parameter] + f.first_column;
        const Matrix m = f.transposed ? Matrix{w, stride, 1, pass.width} : Matrix{w, 1, stride, pass.width};
        group.products.push_back({g.targets[i], g.starts[i], pack(model, precision, m, g.depth)});
      }
      step.groups.push_back(std::move(group));
    }
    found.push_back(std::move(step));
  }
  return found;
}

void bind_vectors(StepLayer& layer, const std::vector<const float*>& parameters) {
  size_t floats = 0;
  for (const VectorSource& v : layer.plan.vectors) floats += padded(v.width);
  layer.vector_store.assign(floats, 0.0f);
  float* next = layer.vector_store.data();
  for (const VectorSource& v : layer.plan.vectors) {
    if (v.parameter < 0) std::fill_n(next, v.width, v.number);
    else std::copy_n(parameters[v.parameter], v.width, next);
    layer.vectors.push_back(next);
    next += padded(v.width);
  }
}

void note_slot(Operand o, std::set<int>& slots) {
  if (o.place == Place::rows) slots.insert(o.index);
}

// Slots that passes write, and slots that they read.
void touched(const std::vector<Pass>& passes, std::set<int>& written, std::set<int>& read) {
  for (const Pass& pass : passes) {
    for (const auto* list : {&pass.row_operations, &pass.instructions})
      for (const Instruction& i : *list) {
        note_slot(i.target, written);
        for (const Operand o : {i.a, i.b, i.c}) note_slot(o, read);
      }
    for (const Group& g : pass.groups) {
      note_slot(g.operand, read);
      for (const Operand o : g.targets) note_slot(o, written);
      for (const Operand o : g.starts) note_slot(o, read);
    }
  }
}

void find_kept(StepLayer& layer) {
  std::set<int> made, read, rest;
  touched(layer.plan.forward.bulk_before, made, rest);
  touched(layer.plan.forward.step, rest, read);
  for (const int slot : made)
    if (read.count(slot)) {
      layer.kept.push_back(slot);
      layer.kept_floats += padded(layer.plan.slot_groups[layer.plan.slots[slot].group].width);
    }
}

// Whether the first pass of the step reads other threads' columns in states alone, and writes none that `bulk` reads so.
bool starts_at_states(const Plan& plan) {
  if (plan.forward.step.empty()) return false;
  const Pass& first = plan.forward.step.front();
  if (!first.row_operations.empty()) return false;
  std::set<int> states, written, rest;
  for (const State& s : plan.states) note_slot(s.before, states);
  for (const Group& g : first.groups)
    if (g.operand.place != Place::rows || !states.count(g.operand.index)) return false;
  touched({first}, written, rest);
  for (const Pass& pass : plan.forward.bulk_before) {
    for (const Instruction& i : pass.row_operations)
      for (const Operand o : {i.a, i.b, i.c})
        if (o.place == Place::rows && written.count(o.index)) return false;
    for (const Group& g : pass.groups)
      if (written.count(g.operand.index)) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<StepModel> make_step_model(Precision precision, int64_t vocabulary, int embedding_size, const float* embedding,
                                           std::vector<LayerSource> layers, const float* head, const float* bias, size_t table_bytes) {
  auto model = std::make_unique<StepModel>();
  model->precision = precision, model->vocabulary = vocabulary, model->embedding_size = embedding_size;
  if (embedding) model->embedding.assign(embedding, embedding + vocabulary * embedding_size);
  model->layers.reserve(layers.size());  // passes point into the plans
  for (LayerSource& source : layers) {
    StepLayer& layer = model->layers.emplace_back();
    layer.plan = std::move(source.plan), layer.residual = source.residual;
    // The table makes the first layer's products with the input rare: they stay exact.
    const Precision bulk = &layer == &model->layers.front() ? Precision::float32 : precision;
    layer.bulk = packed_passes(*model, bulk, layer.plan.forward.bulk_before, layer.plan, source.parameters);
    if (&layer == &model->layers.front()) model->work = 0;
    layer.step = packed_passes(*model, precision, layer.plan.forward.step, layer.plan, source.parameters);
    bind_vectors(layer, source.parameters);
    find_kept(layer);
    layer.starts_at_states = starts_at_states(layer.plan);
  }
  model->table = std::make_unique<TokenTable>(vocabulary, model->layers.front().kept_floats, table_bytes);
  const int depth = model->output_size(), columns = static_cast<int>(vocabulary);
  const std::byte* const panels = pack(*model, precision, {head, 1, static_cast<size_t>(depth), columns}, depth);
  model->head = {{}, depth, precision, {{{}, {}, panels}}};
  model->head_bias.assign(padded(columns), 0.0f);
  if (bias) std::copy_n(bias, vocabulary, model->head_bias.begin());
  return model;
}

}  // namespace elman
