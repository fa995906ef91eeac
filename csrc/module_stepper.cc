// What Python sees of the stepper. Every array and every token is checked here; below, pointers are trusted.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "allocations.h"
#include "stepper.h"

namespace nb = nanobind;
using namespace elman;

namespace {

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using ReadFloats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Tokens = nb::ndarray<int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ReadTokens = nb::ndarray<const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Lengths = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using States = std::vector<std::vector<Floats>>;

void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

class Stepper {
 public:
  Stepper(const std::string& target, int precision, int64_t vocabulary, const std::optional<ReadFloats>& embedding, std::vector<Plan> plans,
          const std::vector<std::vector<ReadFloats>>& parameters, const std::vector<bool>& residual, ReadFloats head,
          const std::optional<ReadFloats>& bias, size_t table_bytes)
      : run_(find_steps(target)) {
    expect(run_ != nullptr, "target: must be one that this processor runs");
    expect(precision >= 0 && precision <= 2, "precision: must be 0, 1 or 2");
    expect(vocabulary >= 2 && vocabulary < (1 << 30), "vocabulary: must be at least 2");
    expect(!plans.empty() && parameters.size() == plans.size() && residual.size() == plans.size(), "layers: parameters and residual, one a plan");
    expect(!embedding || (embedding->ndim() == 2 && static_cast<int64_t>(embedding->shape(0)) == vocabulary), "embedding: must have shape (V, I)");
    const int embedding_size = embedding ? static_cast<int>(embedding->shape(1)) : 0;
    int size = embedding ? embedding_size : static_cast<int>(vocabulary);
    std::vector<LayerSource> layers;
    for (size_t n = 0; n < plans.size(); ++n) {
      check_layer(plans[n], parameters[n], size, residual[n], n == 0);
      size = plans[n].output_size;
      LayerSource source{std::move(plans[n]), {}, residual[n]};
      for (const ReadFloats& p : parameters[n]) source.parameters.push_back(p.data());
      layers.push_back(std::move(source));
    }
    expect(head.ndim() == 2 && static_cast<int64_t>(head.shape(0)) == vocabulary && static_cast<int>(head.shape(1)) == size, "head: must have shape (V, O)");
    expect(size <= most_int8_terms, "head: at most 65,536 columns");
    expect(!bias || static_cast<int64_t>(bias->size()) == vocabulary, "bias: must have shape (V,)");
    nb::gil_scoped_release release;
    model_ = make_step_model(static_cast<Precision>(precision), vocabulary, embedding_size, embedding ? embedding->data() : nullptr,
                             std::move(layers), head.data(), bias ? bias->data() : nullptr, table_bytes);
  }

  int read(ReadTokens tokens, const std::optional<Lengths>& lengths, const States& states, Floats logits,
           const std::optional<ReadTokens>& wanted, const std::optional<Doubles>& log_probabilities, int threads) const {
    StepCall call;
    shape(call, tokens.shape(0), tokens.shape(1), lengths, states, logits);
    check_tokens(tokens.data(), call, 0);
    call.tokens = tokens.data();
    expect(wanted.has_value() == log_probabilities.has_value(), "wanted, log_probabilities: both or none");
    if (wanted) {
      expect(wanted->size() == tokens.size() && log_probabilities->size() == tokens.size(), "wanted, log_probabilities: must have shape (B, T)");
      check_tokens(wanted->data(), call, -1);
      call.wanted = wanted->data(), call.log_probabilities = log_probabilities->data();
    }
    return run(call, threads);
  }

  int write(Tokens written, const States& states, Floats logits, Draws& draws, double temperature, int64_t top_k, double top_p, bool greedy,
            int64_t never, int threads) const {
    StepCall call;
    shape(call, written.shape(0), written.shape(1), std::nullopt, states, logits);
    expect(draws.streams() == written.shape(0), "draws: must be of as many streams");
    expect(temperature > 0.0 && top_k >= 0 && top_p >= 0.0 && never < model_->vocabulary, "write: temperature, top_k, top_p, never out of range");
    call.written = written.data(), call.draws = &draws;
    // Where tokens are chosen subnormal numbers are zero: not a temperature, and for top_p all.
    constexpr double least = std::numeric_limits<double>::min();
    call.choosing = {std::max(temperature, least), top_k, top_p > 0.0 ? std::max(top_p, least) : 0.0, greedy, never};
    return run(call, threads);
  }

  size_t weight_bytes() const { return model_->weight_bytes; }
  size_t table_bytes() const { return model_->table->bytes(); }
  int64_t work() const { return model_->work; }

 private:
  static void check_layer(const Plan& plan, const std::vector<ReadFloats>& parameters, int input_size, bool residual, bool first) {
    expect(plan.input_size == input_size, "layers: each must read what the one below gives");
    expect(!residual || plan.output_size == input_size, "residual: input and output must have one size");
    expect(plan.mask_sizes.empty() && plan.backward.step.empty(), "layers: must be without masks and without the way back");
    expect(parameters.size() == plan.parameter_rows.size(), "parameters: must be those of the plan");
    for (size_t i = 0; i < parameters.size(); ++i)
      expect(parameters[i].size() == static_cast<size_t>(plan.parameter_rows[i]) * std::max(1, plan.parameter_columns[i]),
             "parameters: must have the sizes of the plan");
    for (const auto* passes : {&plan.forward.bulk_before, &plan.forward.step})
      for (const Pass& pass : *passes)
        for (const Group& g : pass.groups) {
          expect(g.operand.place == Place::rows, "layers: operands of products must lie in rows");
          // The first layer's products with the input are never in int8.
          expect(g.depth <= most_int8_terms || (first && passes == &plan.forward.bulk_before), "layers: products of at most 65,536 terms");
        }
  }

  void shape(StepCall& call, size_t streams, size_t steps, const std::optional<Lengths>& lengths, const States& states, const Floats& logits) const {
    expect(streams > 0 && steps > 0 && streams < (1 << 20) && steps < (1u << 30), "tokens: must have shape (B, T), neither 0");
    call.streams = static_cast<int>(streams), call.steps = static_cast<int>(steps);
    expect(!lengths || lengths->shape(0) == streams, "lengths: must have shape (B,)");
    for (size_t b = 0; lengths && b < streams; ++b)
      expect(lengths->data()[b] >= 1 && lengths->data()[b] <= static_cast<int64_t>(steps), "lengths: must be from 1 to T");
    const auto length_of = [&](int b) { return lengths ? static_cast<int>(lengths->data()[b]) : call.steps; };
    call.order.resize(streams);
    std::iota(call.order.begin(), call.order.end(), 0);
    std::stable_sort(call.order.begin(), call.order.end(), [&](int a, int b) { return length_of(a) > length_of(b); });
    for (const int b : call.order) call.length.push_back(length_of(b));
    expect(logits.size() == streams * model_->vocabulary, "logits: must have shape (B, V)");
    call.logits = logits.data();
    expect(states.size() == model_->layers.size(), "states: one list a layer");
    for (size_t n = 0; n < states.size(); ++n) {
      const std::vector<State>& wanted = model_->layers[n].plan.states;
      expect(states[n].size() == wanted.size(), "states: those of the layer");
      call.states.emplace_back();
      for (size_t s = 0; s < wanted.size(); ++s) {
        expect(states[n][s].size() == streams * wanted[s].width, "states: must have shape (B, S)");
        call.states.back().push_back(states[n][s].data());
      }
    }
  }

  void check_tokens(const int64_t* tokens, const StepCall& call, int64_t least) const {
    for (int r = 0; r < call.streams; ++r) {
      const int64_t* row = tokens + static_cast<size_t>(call.order[r]) * call.steps;
      for (int t = 0; t < call.length[r]; ++t) expect(row[t] >= least && row[t] < model_->vocabulary, "tokens: must be numbers of the vocabulary");
    }
  }

  int run(StepCall& call, int threads) const {
    expect(threads >= 1, "threads: at least 1");
    nb::gil_scoped_release release;
    run_(*model_, call, threads);
    return call.diverged.load();
  }

  RunSteps run_;
  std::unique_ptr<StepModel> model_;
};

std::vector<double> next_draws(Draws& draws, size_t stream, size_t count) {
  expect(stream < draws.streams(), "stream: must be one of the draws");
  std::vector<double> found(count);
  for (double& u : found) u = draws.next(stream);
  return found;
}

}  // namespace

void bind_stepper(nb::module_& m) {
  constexpr nb::call_guard<InEngine> in_engine;
  nb::class_<Draws>(m, "Draws", "Uniform numbers of streams, each as torch.rand in float64 after manual_seed.")
      .def(nb::init<const std::vector<uint64_t>&>(), nb::arg("seeds"))
      .def_prop_ro("streams", &Draws::streams)
      .def("next", &next_draws, nb::arg("stream"), nb::arg("count"));
  nb::class_<Stepper>(m, "Stepper", "A stack of cells between tokens and logits, step by step.")
      .def(nb::init<const std::string&, int, int64_t, const std::optional<ReadFloats>&, std::vector<Plan>, const std::vector<std::vector<ReadFloats>>&,
                    const std::vector<bool>&, ReadFloats, const std::optional<ReadFloats>&, size_t>(),
           nb::arg("target"), nb::arg("precision"), nb::arg("vocabulary"), nb::arg("embedding").none(), nb::arg("plans"), nb::arg("parameters"),
           nb::arg("residual"), nb::arg("head"), nb::arg("bias").none(), nb::arg("table_bytes"), in_engine)
      .def("read", &Stepper::read, nb::arg("tokens"), nb::arg("lengths").none(), nb::arg("states"), nb::arg("logits"), nb::arg("wanted").none(),
           nb::arg("log_probabilities").none(), nb::arg("threads"), in_engine)
      .def("write", &Stepper::write, nb::arg("written"), nb::arg("states"), nb::arg("logits"), nb::arg("draws"), nb::arg("temperature"),
           nb::arg("top_k"), nb::arg("top_p"), nb::arg("greedy"), nb::arg("never"), nb::arg("threads"), in_engine)
      .def_prop_ro("weight_bytes", &Stepper::weight_bytes)
      .def_prop_ro("table_bytes", &Stepper::table_bytes)
      .def_prop_ro("work", &Stepper::work);
}
