// Token by token: the passes of every layer at one step, the head, and what is read or chosen between steps.
#pragma once

#include <utility>

#include "arena.h"
#include "loop.h"
#include "panels.h"
#include "sampler.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

inline constexpr int step_tile_rows = 32, step_tile_floats = 1024;

// Memory of a call, all of it in one block. Values lie in rows, one a stream, as in layout.h.
class StepMemory {
 public:
  struct Layer {
    std::vector<float*> slot;
    std::vector<size_t> slot_stride_of;
    std::vector<float*> state;  // after the step
    std::vector<const float*> x;
    float* y = nullptr;
    size_t y_stride = 0;
  };
  std::vector<Layer> layers;
  std::vector<float> one_hot;
  float* logits = nullptr;
  size_t logits_stride = 0;
  std::vector<int64_t> tokens;
  std::vector<const float*> known;  // rows of the token table for the tokens; null where there is none

  StepMemory(const StepModel& model, int rows) : layers(model.layers.size()), tokens(rows), known(rows) {
    const size_t bytes = sizeof(float) * row_floats(model) * rows;
    block_.reset(take(bytes));
    std::memset(block_.get(), 0, bytes);
    float* next = static_cast<float*>(block_.get());
    const auto rows_of = [&next, rows](int width) { return std::exchange(next, next + static_cast<size_t>(slot_stride(width)) * rows); };
    for (size_t n = 0; n < layers.size(); ++n) {
      const Plan& plan = model.layers[n].plan;
      for (const Slot& s : plan.slots) {
        const int width = plan.slot_groups[s.group].width;
        layers[n].slot.push_back(rows_of(width));
        layers[n].slot_stride_of.push_back(slot_stride(width));
      }
      for (const State& s : plan.states) layers[n].state.push_back(rows_of(s.width));
      layers[n].x.resize(rows);
      layers[n].y = rows_of(plan.output_size), layers[n].y_stride = slot_stride(plan.output_size);
      for (int r = 0; n > 0 && r < rows; ++r) layers[n].x[r] = layers[n - 1].y + r * layers[n - 1].y_stride;
    }
    logits_stride = slot_stride(static_cast<int>(model.vocabulary));
    logits = rows_of(static_cast<int>(model.vocabulary));
    if (!model.embedding_size) one_hot.resize(static_cast<size_t>(rows) * model.vocabulary);
  }

 private:
  static size_t row_floats(const StepModel& model) {
    size_t floats = slot_stride(static_cast<int>(model.vocabulary));
    for (const StepLayer& layer : model.layers) {
      for (const SlotGroup& g : layer.plan.slot_groups) floats += static_cast<size_t>(slot_stride(g.width)) * g.slots;
      for (const State& s : layer.plan.states) floats += slot_stride(s.width);
      floats += slot_stride(layer.plan.output_size);
    }
    return floats;
  }

  Block block_;
};

// Rows of one operand as products of int8 read them.
struct Halves {
  std::vector<uint8_t> high, low;
  std::vector<float> scale;
};

// What a thread needs for itself, all of it from the start: memory that is refused between two tokens would leave draws
// used up and no token.
struct StepScratch {
  std::vector<float> tile_store;
  float* tiles = nullptr;
  std::vector<Halves> halves;  // by group of the pass at hand
  size_t half_stride = 0;
  std::vector<const std::byte*> panels;
  std::vector<Sums> sums;
  Chooser chooser;

  StepScratch(const StepModel& model, bool chooses) {
    int most_tiles = 0, deepest = model.head.depth;
    size_t most_groups = 1, most_products = 1;
    for (const StepLayer& layer : model.layers)
      for (const auto* passes : {&layer.bulk, &layer.step})
        for (const StepPass& pass : *passes) {
          most_tiles = std::max(most_tiles, pass.pass->tiles);
          most_groups = std::max(most_groups, pass.groups.size());
          for (const StepGroup& g : pass.groups) deepest = std::max(deepest, g.depth), most_products = std::max(most_products, g.products.size());
        }
    tile_store.resize(static_cast<size_t>(most_tiles) * step_tile_floats + 16);
    tiles = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(tile_store.data()) + 63) & ~uintptr_t{63});
    const size_t most_panels = std::max(most_products * (step_tile_floats / panel_width), static_cast<size_t>(padded(static_cast<int>(model.vocabulary)) / panel_width));
    panels.reserve(most_panels), sums.reserve(most_panels);
    if (chooses) chooser.reserve(model.vocabulary);
    if (model.precision != Precision::int8) return;
    half_stride = static_cast<size_t>(deepest + 63) / 64 * 64;
    const size_t bytes = half_stride * step_tile_rows;
    halves.assign(most_groups, {std::vector<uint8_t>(bytes), std::vector<uint8_t>(bytes), std::vector<float>(step_tile_rows)});
  }
};

// One thread's part of a step: columns of everything.
class StepWorker {
 public:
  StepWorker(const StepModel& model, StepMemory& memory, StepScratch& scratch, Barrier& barrier, int index, int threads)
      : model_(model), memory_(memory), scratch_(scratch), barrier_(barrier), index_(index), threads_(threads) {}

  // What row r reads at this step; then all threads meet before the step.
  void set_input(int r) {
    memory_.layers[0].x[r] = input_row(r);
    memory_.known[r] = model_.table->row(memory_.tokens[r]);
  }

  // States before the first step.
  void start(int live) {
    live_ = live;
    for (size_t n = 0; n < model_.layers.size(); ++n) layer_ = &model_.layers[n], at_ = &memory_.layers[n], move_states();
  }

  // Tokens of `live` rows to logits.
  void step(int live, bool with_head) {
    live_ = live;
    all_known_ = std::all_of(memory_.known.begin(), memory_.known.begin() + live, [](const float* row) { return row != nullptr; });
    for (size_t n = 0; n < model_.layers.size(); ++n) layer(n);
    if (with_head) head();
    barrier_.wait();
  }

 private:
  struct Columns {
    int first, last;
  };

  Columns columns_of(int width) const {
    const int blocks = padded(width) / panel_width;
    return {blocks * index_ / threads_ * panel_width, blocks * (index_ + 1) / threads_ * panel_width};
  }

  const float* input_row(int r) const {
    const int64_t token = memory_.tokens[r];
    if (model_.embedding_size) return model_.embedding.data() + token * model_.embedding_size;
    float* const row = memory_.one_hot.data() + r * model_.vocabulary;
    std::fill_n(row, model_.vocabulary, 0.0f);
    row[token] = 1.0f;
    return row;
  }

  void layer(size_t n) {
    layer_ = &model_.layers[n], at_ = &memory_.layers[n];
    const bool from_known = n == 0 && all_known_;
    if (from_known) from_table();
    else for (const StepPass& p : layer_->bulk) pass(p, true);
    if (n == 0 && !from_known) to_table();
    for (const StepPass& p : layer_->step) pass(p, &p != &layer_->step.front() || !layer_->starts_at_states);
    barrier_.wait();
    move_states();
  }

  // States of this step become those before the next; a meeting lies between this and who reads them.
  void move_states() const {
    for (size_t s = 0; s < at_->state.size(); ++s) copy_rows(at_->state[s], layer_->plan.states[s]);
  }

  void copy_rows(const float* from, const State& state) const {
    if (state.before.place == Place::none) return;  // the cell itself does not read it
    const auto [first, last] = columns_of(state.width);
    const size_t stride = slot_stride(state.width);
    for (int r = 0; r < live_; ++r)
      std::copy(from + r * stride + first, from + r * stride + last, at_->slot[state.before.index] + r * stride + first);
  }

  int width_of(int slot) const { return layer_->plan.slot_groups[layer_->plan.slots[slot].group].width; }

  void from_table() const {
    for (int r = 0; r < live_; ++r) {
      const float* row = memory_.known[r];
      for (const int slot : layer_->kept) {
        const auto [first, last] = columns_of(width_of(slot));
        std::copy(row + first, row + last, at_->slot[slot] + r * at_->slot_stride_of[slot] + first);
        row += padded(width_of(slot));
      }
    }
  }

  void to_table() const {
    barrier_.wait();
    for (int r = 0; r < live_ && index_ == 0; ++r) {
      if (memory_.known[r]) continue;
      auto row = model_.table->fresh();
      if (!row) break;
      float* next = row.get();
      for (const int slot : layer_->kept)
        next = std::copy_n(at_->slot[slot] + r * at_->slot_stride_of[slot], padded(width_of(slot)), next);
      model_.table->keep(memory_.tokens[r], std::move(row));
    }
    barrier_.wait();  // a pass of the step may overwrite what is copied here
  }

  // `meets`: the threads meet where the plan says so.
  void pass(const StepPass& p, bool meets) {
    if (!p.pass->row_operations.empty()) {
      if (p.pass->wait_rows && meets) barrier_.wait();
      for (const Instruction& i : p.pass->row_operations)
        for (int r = index_; r < live_; r += threads_) layer_norm(row_of(i.target, r), row_of(i.a, r), i.number);
    }
    if (p.pass->wait && meets) barrier_.wait();
    const auto [first, last] = columns_of(p.pass->width);
    const int tiles = (live_ + step_tile_rows - 1) / step_tile_rows;
    row_ = 0;
    for (int i = 0; i < tiles; ++i, row_ += tile_.rows) {
      tile_.rows = (live_ - row_ + tiles - i - 1) / (tiles - i);
      for (size_t g = 0; g < p.groups.size(); ++g) halve(p.groups[g], rows_from(p.groups[g].operand), g);
      const int wide = std::max(panel_width, step_tile_floats / tile_.rows / panel_width * panel_width);
      for (column_ = first; column_ < last; column_ += wide) {
        tile_.columns = std::min(wide, last - column_);
        tile(p);
      }
    }
  }

  void tile(const StepPass& p) {
    for (size_t g = 0; g < p.groups.size(); ++g)
      multiply_group(p.groups[g], rows_from(p.groups[g].operand), g, [this](const StepProduct& product) -> Sums {
        const View to = view(product.target), from = view(product.start);
        return {to.data, to.stride, from.data, from.stride};
      });
    for (const Instruction& i : p.pass->instructions) run(i);
  }

  PanelRows rows_from(Operand o) const {
    PanelRows rows;
    rows.data = row_of(o, row_), rows.stride = at_->slot_stride_of[o.index];
    return rows;
  }

  void halve(const StepGroup& g, const PanelRows& a, size_t which) const {
    if (g.precision != Precision::int8) return;
    Halves& to = scratch_.halves[which];
    for (int r = 0; r < tile_.rows; ++r)
      to_halves(a.data + r * a.stride, g.depth, to.high.data() + r * scratch_.half_stride, to.low.data() + r * scratch_.half_stride, &to.scale[r]);
  }

  template <class SumsOf>
  void multiply_group(const StepGroup& g, PanelRows a, size_t which, SumsOf sums_of) const {
    if (g.precision == Precision::int8) {
      const Halves& halves = scratch_.halves[which];
      a.high = halves.high.data(), a.low = halves.low.data(), a.half_stride = scratch_.half_stride, a.scale = halves.scale.data();
    }
    scratch_.panels.clear(), scratch_.sums.clear();
    const size_t bytes = panel_bytes(g.precision, g.depth);
    for (int shift = 0; shift < tile_.columns; shift += panel_width)
      for (const StepProduct& product : g.products) {
        const Sums s = sums_of(product);
        scratch_.panels.push_back(product.panels + static_cast<size_t>(column_ + shift) / panel_width * bytes);
        scratch_.sums.push_back({s.to + shift, s.to_stride, s.from ? s.from + shift : nullptr, s.from_stride});
      }
    multiply_panels(g.precision, g.depth, a, tile_.rows, scratch_.panels.data(), scratch_.sums.data(), static_cast<int>(scratch_.panels.size()));
  }

  float* row_of(Operand o, int r) const { return at_->slot[o.index] + r * at_->slot_stride_of[o.index]; }

  View view(Operand o) const {
    switch (o.place) {
      case Place::rows: return {row_of(o, row_) + column_, at_->slot_stride_of[o.index]};
      case Place::tile: return {scratch_.tiles + static_cast<size_t>(o.index) * step_tile_floats, static_cast<size_t>(tile_.columns)};
      case Place::vector: return {const_cast<float*>(layer_->vectors[o.index]) + column_, 0};
      default: return {};
    }
  }

  void run(const Instruction& i) const {
    switch (i.code) {
      case Opcode::load_x: return load_x(view(i.target));
      case Opcode::store_y: return store_y(view(i.a));
      case Opcode::store_next: {
        const size_t stride = slot_stride(layer_->plan.states[i.number].width);
        const View from = view(i.a);
        for (int r = 0; r < tile_.rows; ++r)
          std::copy_n(from.data + r * from.stride, tile_.columns, at_->state[i.number] + (row_ + r) * stride + column_);
        return;
      }
      default: compute(i.code, tile_, view(i.target), view(i.a), view(i.b), view(i.c));
    }
  }

  void load_x(View to) const {
    const int real = std::clamp(layer_->plan.input_size - column_, 0, tile_.columns);
    for (int r = 0; r < tile_.rows; ++r) {
      float* out = to.data + r * to.stride;
      std::copy_n(at_->x[row_ + r] + column_, real, out);
      std::fill(out + real, out + tile_.columns, 0.0f);
    }
  }

  void store_y(View from) const {
    const int real = std::clamp(layer_->plan.output_size - column_, 0, tile_.columns);
    for (int r = 0; r < tile_.rows; ++r) {
      float* out = at_->y + (row_ + r) * at_->y_stride + column_;
      const float *own = from.data + r * from.stride, *x = at_->x[row_ + r] + column_;
      for (int j = 0; j < real; ++j) out[j] = layer_->residual ? x[j] + own[j] : own[j];
    }
  }

  void head() {
    const StepMemory::Layer& top = memory_.layers.back();
    const auto [first, last] = columns_of(static_cast<int>(model_.vocabulary));
    column_ = first, tile_.columns = last - first;
    for (row_ = 0; row_ < live_; row_ += step_tile_rows) {
      tile_.rows = std::min(step_tile_rows, live_ - row_);
      PanelRows a;
      a.data = top.y + row_ * top.y_stride, a.stride = top.y_stride;
      halve(model_.head, a, 0);
      multiply_group(model_.head, a, 0, [this](const StepProduct&) -> Sums {
        return {memory_.logits + row_ * memory_.logits_stride + column_, memory_.logits_stride, model_.head_bias.data() + column_, 0};
      });
    }
  }

  const StepModel& model_;
  StepMemory& memory_;
  StepScratch& scratch_;
  Barrier& barrier_;
  const int index_, threads_;
  const StepLayer* layer_ = nullptr;
  StepMemory::Layer* at_ = nullptr;
  bool all_known_ = false;
  int live_ = 0, row_ = 0, column_ = 0;
  Tile tile_;
};

// Streams of a call in the memory of a call, by position.
class StepStreams {
 public:
  StepStreams(const StepModel& model, StepCall& call) : model_(model), call_(call), memory(model, call.streams) {
    move_states([](float* own, float* theirs, int width) { std::copy_n(theirs, width, own); });
    for (int r = 0; call.written && r < call.streams; ++r)
      std::copy_n(call.logits + call.order[r] * model.vocabulary, model.vocabulary, logits(r));
  }

  void finish() {
    move_states([](float* own, float* theirs, int width) { std::copy_n(own, width, theirs); });
    for (int r = 0; call_.written && r < call_.streams; ++r) store_logits(r);
  }

  void read_token(int r, int t) { memory.tokens[r] = call_.tokens[at(r, t)]; }

  void write_token(int r, int t, Chooser& chooser) {
    const double uniform = call_.draws->next(call_.order[r]);
    int64_t token = 0;
    if (!chooser.read(logits(r), model_.vocabulary, call_.choosing)) call_.diverged = call_.order[r];
    else token = call_.choosing.greedy ? greedy(logits(r), model_.vocabulary, call_.choosing.never) : chooser.choose(uniform, call_.choosing);
    memory.tokens[r] = call_.written[at(r, t)] = token;
  }

  // After a step: the probability of what was wanted, and the logits of streams that end.
  void note(int r, int t, Chooser& chooser) {
    if (call_.length[r] == t + 1) store_logits(r);
    if (!call_.wanted) return;
    const int64_t wanted = call_.wanted[at(r, t)];
    double& found = call_.log_probabilities[at(r, t)] = 0.0;
    if (wanted < 0) return;
    if (!chooser.read(logits(r), model_.vocabulary, {})) call_.diverged = call_.order[r];
    else found = chooser.log_probability(logits(r)[wanted]);
  }

  bool any_ends(int live, int t) const { return live > 0 && call_.length[live - 1] == t + 1; }

 private:
  const StepModel& model_;
  StepCall& call_;

 public:
  StepMemory memory;

 private:
  float* logits(int r) { return memory.logits + r * memory.logits_stride; }
  size_t at(int r, int t) const { return static_cast<size_t>(call_.order[r]) * call_.steps + t; }
  void store_logits(int r) { std::copy_n(logits(r), model_.vocabulary, call_.logits + call_.order[r] * model_.vocabulary); }

  template <class Move>
  void move_states(Move move) {
    for (size_t n = 0; n < model_.layers.size(); ++n)
      for (size_t s = 0; s < model_.layers[n].plan.states.size(); ++s) {
        const int width = model_.layers[n].plan.states[s].width;
        for (int r = 0; r < call_.streams; ++r)
          move(memory.layers[n].state[s] + static_cast<size_t>(r) * slot_stride(width), call_.states[n][s] + static_cast<size_t>(call_.order[r]) * width, width);
      }
  }
};

inline void run_steps(const StepModel& model, StepCall& call, int threads) {
  StepStreams streams(model, call);
  std::vector<StepScratch> scratch;
  for (int i = 0; i < threads; ++i) scratch.emplace_back(model, call.written || call.wanted);
  run_on_team(threads, [&](int index, int used, Barrier& barrier) {
    const FlushToZero flush;
    StepWorker worker(model, streams.memory, scratch[index], barrier, index, used);
    worker.start(call.streams);
    for (int t = 0, live = call.streams; t < call.steps; ++t) {
      while (live > 0 && call.length[live - 1] <= t) --live;
      for (int r = index; r < live; r += used) {
        if (call.written) streams.write_token(r, t, scratch[index].chooser);
        else streams.read_token(r, t);
        worker.set_input(r);
      }
      barrier.wait();
      worker.step(live, call.written || call.wanted || streams.any_ends(live, t));
      for (int r = index; !call.written && r < live; r += used) streams.note(r, t, scratch[index].chooser);
    }
  });
  streams.finish();
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
