#include "cases.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "../arena.h"

namespace elman::checks {
namespace {

// Reads what cases.py writes: members in the order of plan.h.
class Reader {
 public:
  explicit Reader(const std::string& line) : in_(line) {}

  template <class... T>
  void operator()(T&... values) {
    (read(values), ...);
  }

  bool at_end() { return in_ && (in_ >> std::ws).eof(); }

 private:
  void read(std::string& s) { in_ >> s; }
  void read(bool& b) { in_ >> b; }
  void read(int32_t& n) { in_ >> n; }
  void read(int64_t& n) { in_ >> n; }
  void read(float& x) { in_ >> x; }
  void read(Operand& o) {
    int32_t place = 0;
    (*this)(place, o.index);
    o.place = static_cast<Place>(place);
  }
  void read(Instruction& i) {
    int32_t code = 0;
    (*this)(code, i.target, i.a, i.b, i.c, i.number);
    i.code = static_cast<Opcode>(code);
  }
  void read(Factor& f) { (*this)(f.parameter, f.first_column, f.transposed); }
  void read(Group& g) { (*this)(g.operand, g.depth, g.targets, g.starts, g.factors); }
  void read(Pass& p) { (*this)(p.row_operations, p.groups, p.instructions, p.width, p.tiles, p.wait_rows, p.wait); }
  void read(Programme& p) { (*this)(p.bulk_before, p.step, p.bulk_after); }
  void read(Slot& s) { (*this)(s.group, s.position); }
  void read(SlotGroup& g) { (*this)(g.width, g.slots); }
  void read(State& s) { (*this)(s.width, s.before, s.rounded); }
  void read(VectorSource& v) { (*this)(v.parameter, v.number, v.width); }
  void read(Accumulation& a) { (*this)(a.parameter, a.first_column, a.left, a.right, a.left_width, a.right_width); }
  void read(Plan& p) {
    (*this)(p.input_size, p.output_size, p.parameter_rows, p.parameter_columns, p.slot_groups, p.slots, p.states, p.mask_sizes, p.vectors, p.forward,
            p.backward, p.accumulations);
  }

  template <class T>
  void read(std::vector<T>& list) {
    int32_t count = 0;
    read(count);
    list.resize(in_ ? count : 0);
    for (T& element : list) read(element);
  }

  std::istringstream in_;
};

size_t floats_of(const Plan& plan, size_t parameter) {
  return static_cast<size_t>(plan.parameter_rows[parameter]) * std::max(1, plan.parameter_columns[parameter]);
}

std::vector<Floats> parameters_of(const Plan& plan) {
  std::vector<Floats> found;
  for (size_t i = 0; i < plan.parameter_rows.size(); ++i) found.push_back(numbers(floats_of(plan, i), 100 + i, 0.4f));
  return found;
}

std::vector<const float*> pointers(const std::vector<Floats>& arrays) {
  std::vector<const float*> found;
  for (const Floats& a : arrays) found.push_back(a.data());
  return found;
}

// Room as the caller has it: exactly as large as the engine asks for, so that a sanitizer sees its end.
Floats packed(const Plan& plan, const Target& target, const Products& products, const Programme& programme, const std::vector<const float*>& parameters,
              int threads) {
  Floats found(packed_floats(products, programme));
  target.loops.pack(plan, products, programme, parameters, found.data(), threads);
  return found;
}

std::atomic<int> failed{0};

}  // namespace

std::vector<Case> read_cases(const char* path) {
  std::ifstream file(path);
  std::vector<Case> found;
  for (std::string line; std::getline(file, line);) {
    Reader read(line);
    Case c;
    read(c.kind, c.name, c.bf16, c.lengths, c.plan);
    if (!read.at_end()) throw std::runtime_error(std::string(path) + ": a line is not a case");
    found.push_back(std::move(c));
  }
  if (found.empty()) throw std::runtime_error(std::string(path) + ": holds no cases");
  return found;
}

Floats numbers(size_t count, uint64_t seed, float scale) {
  Floats found(count);
  for (float& x : found) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    x = scale * (static_cast<float>(seed >> 40) * 0x1p-23f - 1.0f);
  }
  return found;
}

Floats run_case(const Case& c, const Target& target, int threads) {
  const Plan& plan = c.plan;
  const Products& products = c.bf16 ? target.bf16 : target.float32;
  const int sequences = static_cast<int>(c.lengths.size()), steps = static_cast<int>(*std::max_element(c.lengths.begin(), c.lengths.end()));
  const Batch batch = make_batch(sequences, steps, c.lengths.data(), false);
  const size_t rows = c.lengths.size() * steps;
  const auto layout = [&](int width) { return Layout{static_cast<int64_t>(steps) * width, width, false}; };

  const std::vector<Floats> parameters = parameters_of(plan);
  const Floats x = numbers(rows * plan.input_size, 1), dy = numbers(rows * plan.output_size, 2);
  std::vector<Floats> start, final, d_start, masks, d_parameters;
  for (const State& s : plan.states) {
    start.push_back(numbers(c.lengths.size() * s.width, 10 + start.size(), 0.5f));
    final.emplace_back(start.back().size()), d_start.emplace_back(start.back().size());
  }
  for (const int width : plan.mask_sizes) masks.push_back(numbers(c.lengths.size() * width, 20 + masks.size()));
  for (const Floats& p : parameters) d_parameters.emplace_back(p.size());
  Floats y(rows * plan.output_size), dx(rows * plan.input_size);

  Arrays arrays{pointers(parameters), x.data(), layout(plan.input_size), pointers(start), {}, y.data(), layout(plan.output_size), {}};
  for (const Floats& m : masks) arrays.masks.push_back({m.data(), 1});
  Gradients gradients{dy.data(), layout(plan.output_size), std::vector<const float*>(plan.states.size()), dx.data(), layout(plan.input_size), false, {}, {}};
  for (Floats& f : final) arrays.final.push_back(f.data());
  for (Floats& d : d_parameters) gradients.d_parameters.push_back(d.data());
  for (Floats& d : d_start) gradients.d_start.push_back(d.data());

  Floats workspace(workspace_floats(plan, products, batch, true));
  const Floats ahead = packed(plan, target, products, plan.forward, arrays.parameters, threads);
  const Floats back = packed(plan, target, products, plan.backward, arrays.parameters, threads);
  target.loops.forward(plan, products, batch, arrays, ahead.data(), workspace.data(), true, threads);
  target.loops.backward(plan, products, batch, arrays, gradients, back.data(), workspace.data(), threads);

  Floats found = y;
  for (const auto* list : {&final, &d_parameters, &d_start})
    for (const Floats& f : *list) found.insert(found.end(), f.begin(), f.end());
  found.insert(found.end(), dx.begin(), dx.end());
  return found;
}

inline constexpr int64_t vocabulary = 70;

std::unique_ptr<StepModel> model_of(const Case& c, Precision precision) {
  const std::vector<Floats> parameters = parameters_of(c.plan);
  const Floats embedding = numbers(vocabulary * c.plan.input_size, 1), head = numbers(vocabulary * c.plan.output_size, 2);
  const Floats bias = numbers(vocabulary, 3);
  std::vector<LayerSource> layers;
  layers.push_back({c.plan, pointers(parameters), false});
  return make_step_model(precision, vocabulary, c.plan.input_size, embedding.data(), std::move(layers), head.data(), bias.data(), size_t{1} << 14);
}

Floats step_case(const Case& c, const StepModel& model, RunSteps steps, int threads) {
  const int streams = static_cast<int>(c.lengths.size()), length = 6;
  std::vector<int64_t> tokens(static_cast<size_t>(streams) * length), written(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int64_t>(i * 31 % vocabulary);
  std::vector<Floats> states;
  for (const State& s : c.plan.states) states.emplace_back(static_cast<size_t>(streams) * s.width);
  Floats logits(streams * vocabulary), found;
  std::vector<double> log_probabilities(tokens.size());
  Draws draws(std::vector<uint64_t>(streams, 7));
  for (const bool writes : {false, true}) {
    StepCall call;
    call.streams = streams, call.steps = length, call.logits = logits.data();
    call.states.emplace_back();
    for (Floats& s : states) call.states.back().push_back(s.data());
    for (int b = 0; b < streams; ++b) call.order.push_back(b), call.length.push_back(length);
    if (writes) call.written = written.data(), call.draws = &draws, call.choosing.top_k = 5;
    else call.tokens = tokens.data(), call.wanted = tokens.data(), call.log_probabilities = log_probabilities.data();
    steps(model, call, threads);
    found.insert(found.end(), logits.begin(), logits.end());
    if (!writes) found.insert(found.end(), log_probabilities.begin(), log_probabilities.end());
    else found.insert(found.end(), written.begin(), written.end());
  }
  return found;
}

bool expect(bool holds, const std::string& what) {
  if (!holds) ++failed, std::fprintf(stderr, "failed: %s\n", what.c_str());
  return holds;
}

int failures() { return failed; }

}  // namespace elman::checks
