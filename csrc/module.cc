// What Python sees of the engine.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "allocations.h"
#include "arena.h"
#include "arrays.h"
#include "dispatch.h"
#include "openmp.h"

namespace nb = nanobind;
using namespace elman;

namespace {

using Floats = Array<float, Dense::all>;
using ReadFloats = Array<const float, Dense::all>;
using Rows = Array<float, Dense::rows>;
using ReadRows = Array<const float, Dense::rows>;
using Counts = Array<const int64_t, Dense::all>;

const Target& target_named(const std::string& name) {
  const Target* target = find_target(name);
  if (!target) throw std::invalid_argument("target: must be one this processor runs; got '" + name + "'");
  return *target;
}

const Products& products_named(const Target& target, const std::string& precision) {
  if (precision == "float32") return target.float32;
  if (precision == "bf16") return target.bf16;
  throw std::invalid_argument("precision: must be float32 or bf16; got '" + precision + "'");
}

void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

Batch checked_batch(int64_t sequences, int64_t steps, const std::optional<Counts>& lengths, bool reverse) {
  expect(sequences > 0 && steps > 0 && sequences < (1 << 30) && steps < (1 << 30), "batch: B and T must be positive");
  if (lengths) {
    expect(lengths->ndim() == 1 && lengths->shape(0) == sequences, "lengths: must have shape (B,)");
    for (int64_t b = 0; b < sequences; ++b) expect(lengths->data()[b] >= 1 && lengths->data()[b] <= steps, "lengths: must be from 1 to T");
  }
  return make_batch(static_cast<int>(sequences), static_cast<int>(steps), lengths ? lengths->data() : nullptr, reverse);
}

Batch checked_packed_batch(const Counts& sizes, bool reverse) {
  expect(sizes.ndim() == 1 && sizes.size() > 0 && sizes.size() < (1 << 30) && sizes.data()[0] < (1 << 30), "batch sizes: must have shape (T,)");
  const int64_t* size = sizes.data();
  for (size_t t = 0; t < sizes.size(); ++t) expect(size[t] > 0 && (t == 0 || size[t] <= size[t - 1]), "batch sizes: must be positive and never rise");
  return make_packed_batch(static_cast<int>(sizes.size()), size, reverse);
}

// A plan and where it runs. Rows (x, y and their derivatives) are (B, T, I) with any distance of sequences and steps, and
// counts the lengths (B,) then; or they are packed, (rows, I), and counts the batch sizes (T,). Every array is checked against the plan here; below, pointers are trusted.
class Engine {
 public:
  Engine(Plan plan, const std::string& target, const std::string& precision)
      : plan_(std::move(plan)), target_(&target_named(target)), products_(&products_named(*target_, precision)) {}

  size_t packed_floats(bool back) const { return elman::packed_floats(*products_, back ? plan_.backward : plan_.forward); }

  size_t workspace_floats(int64_t sequences, int64_t steps, const std::optional<Counts>& lengths, bool keep) const {
    return elman::workspace_floats(plan_, *products_, checked_batch(sequences, steps, lengths, false), keep);
  }

  size_t packed_workspace_floats(const Counts& sizes, bool keep) const {
    return elman::workspace_floats(plan_, *products_, checked_packed_batch(sizes, false), keep);
  }

  void pack(const std::vector<ReadFloats>& parameters, Floats packed, bool back, int threads) const {
    check_packed(packed, back);
    const std::vector<const float*> from = parameter_pointers(parameters);
    nb::gil_scoped_release release;
    target_->loops.pack(plan_, *products_, back ? plan_.backward : plan_.forward, from, packed.data(), threads);
  }

  void forward(const std::vector<ReadFloats>& parameters, ReadFloats packed, Floats workspace, ReadRows x, std::optional<Counts> counts,
               const std::vector<ReadFloats>& start, const std::vector<ReadFloats>& masks, Rows y, const std::vector<Floats>& final,
               bool reverse, bool keep, int threads) const {
    const Batch batch = batch_of(x, counts, reverse);
    Arrays arrays = arrays_of(batch, parameters, x, start, masks);
    arrays.y = y.data(), arrays.y_layout = layout_of(y, batch, plan_.output_size, "y: must have shape (B, T, O), or (rows, O)");
    check_states(final, batch, "final: must be one a state, of shape (B, S)");
    for (const Floats& f : final) arrays.final.push_back(f.data());
    check_packed(packed, false);
    check_workspace(workspace, batch, keep);
    nb::gil_scoped_release release;
    target_->loops.forward(plan_, *products_, batch, arrays, packed.data(), workspace.data(), keep, threads);
  }

  void backward(const std::vector<ReadFloats>& parameters, ReadFloats packed, Floats workspace, ReadRows x, std::optional<Counts> counts,
                const std::vector<ReadFloats>& start, const std::vector<ReadFloats>& masks, std::optional<ReadRows> dy,
                const std::vector<std::optional<ReadFloats>>& d_final, std::optional<Rows> dx,
                const std::vector<std::optional<Floats>>& d_parameters, const std::vector<std::optional<Floats>>& d_start, bool reverse,
                int threads, bool add_dx) const {
    const Batch batch = batch_of(x, counts, reverse);
    const Arrays arrays = arrays_of(batch, parameters, x, start, masks);
    Gradients gradients;
    if (dy) gradients.dy = dy->data(), gradients.dy_layout = layout_of(*dy, batch, plan_.output_size, "dy: must have the shape of y");
    if (dx) gradients.dx = dx->data(), gradients.dx_layout = layout_of(*dx, batch, plan_.input_size, "dx: must have the shape of x");
    gradients.add_dx = add_dx;
    expect(d_parameters.size() == parameters.size(), "d_parameters: one a parameter");
    for (size_t i = 0; i < d_parameters.size(); ++i)
      expect(!d_parameters[i] || d_parameters[i]->size() == parameters[i].size(), "d_parameters: must have the shape of the parameter");
    each_parameter(parameters, [&](size_t array, size_t at) {
      gradients.d_parameters.push_back(d_parameters[array] ? d_parameters[array]->data() + at : nullptr);
    });
    check_packed(packed, true);
    check_workspace(workspace, batch, true);
    expect(d_final.size() == plan_.states.size() && d_start.size() == plan_.states.size(), "d_final, d_start: one a state");
    for (size_t s = 0; s < plan_.states.size(); ++s) {
      const size_t size = static_cast<size_t>(batch.sequences) * plan_.states[s].width;
      expect((!d_final[s] || d_final[s]->size() == size) && (!d_start[s] || d_start[s]->size() == size), "d_final, d_start: must have shape (B, S)");
      gradients.d_final.push_back(d_final[s] ? d_final[s]->data() : nullptr);
      gradients.d_start.push_back(d_start[s] ? d_start[s]->data() : nullptr);
    }
    nb::gil_scoped_release release;
    target_->loops.backward(plan_, *products_, batch, arrays, gradients, packed.data(), workspace.data(), threads);
  }

  const char* target() const { return target_->name; }

 private:
  // Calls f(array, floats before it there) for each parameter of the plan; an array holds one, or several row after row.
  template <class F>
  void each_parameter(const std::vector<ReadFloats>& arrays, F f) const {
    size_t array = 0, at = 0;
    for (size_t i = 0; i < plan_.parameter_rows.size(); ++i) {
      const size_t floats = static_cast<size_t>(plan_.parameter_rows[i]) * std::max(1, plan_.parameter_columns[i]);
      expect(array < arrays.size() && at + floats <= arrays[array].size(), "parameters: must have the sizes of the plan");
      f(array, at);
      at += floats;
      if (at == arrays[array].size()) ++array, at = 0;
    }
    expect(array == arrays.size(), "parameters: must be those of the plan");
  }

  std::vector<const float*> parameter_pointers(const std::vector<ReadFloats>& arrays) const {
    std::vector<const float*> found;
    each_parameter(arrays, [&](size_t array, size_t at) { found.push_back(arrays[array].data() + at); });
    return found;
  }

  template <class Array>
  void check_packed(const Array& a, bool back) const {
    expect(a.size() >= packed_floats(back), "packed: too small");
  }

  void check_workspace(const Floats& a, const Batch& batch, bool keep) const {
    expect(a.size() >= elman::workspace_floats(plan_, *products_, batch, keep), "workspace: too small");
  }

  Batch batch_of(const ReadRows& x, const std::optional<Counts>& counts, bool reverse) const {
    expect(x.ndim() == 3 || (x.ndim() == 2 && counts), "x: must have shape (B, T, I), or (rows, I) with batch sizes");
    return x.ndim() == 3 ? checked_batch(x.shape(0), x.shape(1), counts, reverse) : checked_packed_batch(*counts, reverse);
  }

  template <class Array>
  Layout layout_of(const Array& a, const Batch& batch, int width, const char* what) const {
    if (batch.packed) {
      expect(a.ndim() == 2 && a.shape(0) == batch.rows() && a.shape(1) == width, what);
      return {0, a.stride(0), true};
    }
    expect(a.ndim() == 3 && a.shape(0) == batch.sequences && a.shape(1) == batch.steps && a.shape(2) == width, what);
    return {a.stride(0), a.stride(1), false};
  }

  template <class ArrayList>
  void check_states(const ArrayList& arrays, const Batch& batch, const char* what) const {
    expect(arrays.size() == plan_.states.size(), what);
    for (size_t s = 0; s < arrays.size(); ++s)
      expect(arrays[s].size() == static_cast<size_t>(batch.sequences) * plan_.states[s].width, what);
  }

  Arrays arrays_of(const Batch& batch, const std::vector<ReadFloats>& parameters, const ReadRows& x, const std::vector<ReadFloats>& start,
                   const std::vector<ReadFloats>& masks) const {
    Arrays arrays;
    arrays.parameters = parameter_pointers(parameters);
    arrays.x = x.data(), arrays.x_layout = layout_of(x, batch, plan_.input_size, "x: must have shape (B, T, I), or (rows, I)");
    check_states(start, batch, "start: must be one a state, of shape (B, S)");
    for (const ReadFloats& s : start) arrays.start.push_back(s.data());
    expect(masks.size() == plan_.mask_sizes.size(), "masks: must be those of the plan");
    for (size_t m = 0; m < masks.size(); ++m) {
      expect(masks[m].ndim() == 3 && masks[m].shape(0) == batch.sequences && (masks[m].shape(1) == 1 || masks[m].shape(1) == batch.steps) &&
                 masks[m].shape(2) == plan_.mask_sizes[m],
             "masks: must have shape (B, 1, S) or (B, T, S)");
      arrays.masks.push_back({masks[m].data(), masks[m].shape(1)});
    }
    return arrays;
  }

  Plan plan_;
  const Target* target_;
  const Products* products_;
};

bool has_shape(const auto& array, int64_t first, int64_t second, int64_t third) {
  return array.ndim() == 3 && array.shape(0) == first && array.shape(1) == second && array.shape(2) == third;
}

Comparison checked_comparison(const ReadFloats& q, const ReadFloats& k, const ReadFloats& v, const Counts& counts) {
  expect(q.ndim() == 3 && k.ndim() == 3 && v.ndim() == 1, "q, k, v: must have shapes (B, T, A), (B, S, A), (A,)");
  const Comparison c{q.shape(0), q.shape(1), k.shape(1), v.shape(0), q.data(), k.data(), v.data(), counts.data()};
  expect(q.shape(2) == c.width && has_shape(k, c.sequences, c.keys, c.width), "q, k, v: must have the same B and A");
  expect(counts.ndim() == 1 && counts.shape(0) == c.sequences, "counts: must have shape (B,)");
  for (int64_t b = 0; b < c.sequences; ++b) expect(c.counts[b] >= 0 && c.counts[b] <= c.keys, "counts: must be from 0 to S");
  return c;
}

void compare(const std::string& target, ReadFloats q, ReadFloats k, ReadFloats v, Counts counts, Floats scores, int threads) {
  const Comparison c = checked_comparison(q, k, v, counts);
  expect(has_shape(scores, c.sequences, c.queries, c.keys), "scores: must have shape (B, T, S)");
  const Loops& loops = target_named(target).loops;
  nb::gil_scoped_release release;
  loops.compare(c, scores.data(), threads);
}

void compare_back(const std::string& target, ReadFloats q, ReadFloats k, ReadFloats v, Counts counts, ReadFloats d_scores, Floats dq, Floats dk,
                  Floats dv, int threads) {
  const Comparison c = checked_comparison(q, k, v, counts);
  expect(has_shape(d_scores, c.sequences, c.queries, c.keys), "d_scores: must have shape (B, T, S)");
  expect(dq.size() == q.size() && dk.size() == k.size() && dv.size() == v.size(), "dq, dk, dv: must have the shapes of q, k, v");
  const Loops& loops = target_named(target).loops;
  nb::gil_scoped_release release;
  loops.compare_back(c, d_scores.data(), dq.data(), dk.data(), dv.data(), threads);
}

// An array in the engine's memory, for results and workspaces that live as long as somebody holds them.
nb::ndarray<float, nb::c_contig, nb::device::cpu> floats(const std::vector<size_t>& shape) {
  size_t size = 1;
  for (const size_t n : shape) {
    if (n != 0 && size > SIZE_MAX / sizeof(float) / n) throw std::bad_alloc();
    size *= n;
  }
  Block block(take(size * sizeof(float)));
  const nb::capsule owner(block.get(), [](void* p) noexcept { give(p); });
  return nb::ndarray<float, nb::c_contig, nb::device::cpu>(static_cast<float*>(block.release()), shape.size(), shape.data(), owner);
}

// A number that changes when values do.
uint64_t checksum(const std::vector<ReadFloats>& arrays) {
  static const Loops& loops = find_target(targets_here().front())->loops;
  uint64_t sum = 0;
  for (const ReadFloats& a : arrays) sum = sum * 0x9e3779b97f4a7c15u + loops.checksum(a.data(), a.size());
  return sum;
}

void fill_mask(const std::string& target, uint64_t seed, float keep, float value, Floats out) {
  expect(keep >= 0.0f && keep <= 1.0f, "keep: must be from 0 to 1");
  const Loops& loops = target_named(target).loops;
  nb::gil_scoped_release release;
  loops.mask(static_cast<uint32_t>(seed), keep, value, out.data(), out.size());
}

std::vector<float> call_function(const std::string& target, int code, const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c) {
  std::vector<float> out(a.size());
  target_named(target).loops.function(static_cast<Opcode>(code), a.data(), b.size() == a.size() ? b.data() : nullptr,
                                c.size() == a.size() ? c.data() : nullptr, out.data(), a.size());
  return out;
}

}  // namespace

void bind_stepper(nb::module_& m);  // module_stepper.cc
const char* source_digest();        // digest.cc

NB_MODULE(_engine, m) {
  constexpr nb::call_guard<InEngine> in_engine;
  // Runners live as long as the process; that they are there at its end is no leak.
  nb::set_leak_warnings(false);
  m.doc() = "The C++ engine: schedules of cells on the processor. See csrc/README.md.";

  nb::class_<Operand>(m, "Operand", "Where a value lies: Operand(place, index).")
      .def("__init__", [](Operand* o, int place, int index) { new (o) Operand{static_cast<Place>(place), index}; });
  nb::class_<Instruction>(m, "Instruction", "A pointwise, moving or row operation.")
      .def("__init__", [](Instruction* i, int code, Operand target, Operand a, Operand b, Operand c, int number) {
        new (i) Instruction{static_cast<Opcode>(code), target, a, b, c, number};
      });
  nb::class_<Factor>(m, "Factor", "Columns of a matrix parameter in a product.")
      .def("__init__", [](Factor* f, int parameter, int first_column, bool transposed) { new (f) Factor{parameter, first_column, transposed}; });
  nb::class_<Group>(m, "Group", "Products of one operand with up to four matrices.")
      .def("__init__", [](Group* g, Operand operand, int depth, std::vector<Operand> targets, std::vector<Operand> starts, std::vector<Factor> factors) {
        expect(!targets.empty() && targets.size() <= 4 && starts.size() == targets.size() && factors.size() == targets.size(),
               "Group: must have one to four targets, each with a start and a factor");
        new (g) Group{operand, depth, std::move(targets), std::move(starts), std::move(factors)};
      });
  nb::class_<Pass>(m, "Pass", "Row operations, products, pointwise operations.")
      .def("__init__", [](Pass* p, std::vector<Instruction> row_operations, std::vector<Group> groups, std::vector<Instruction> instructions,
                          int width, int tiles, bool wait_rows, bool wait) {
        new (p) Pass{std::move(row_operations), std::move(groups), std::move(instructions), width, tiles, wait_rows, wait};
      });
  nb::class_<Programme>(m, "Programme", "Passes before, in and after the loop over time.")
      .def("__init__", [](Programme* p, std::vector<Pass> before, std::vector<Pass> step, std::vector<Pass> after) {
        new (p) Programme{std::move(before), std::move(step), std::move(after)};
      });
  nb::class_<Accumulation>(m, "Accumulation", "A parameter gradient as a sum of outer products.")
      .def("__init__", [](Accumulation* a, int parameter, int first_column, Operand left, Operand right, int left_width, int right_width) {
        new (a) Accumulation{parameter, first_column, left, right, left_width, right_width};
      });
  nb::class_<SlotGroup>(m, "SlotGroup", "Slots of one width, side by side in the workspace.").def("__init__", [](SlotGroup* g, int width, int slots) { new (g) SlotGroup{width, slots}; });
  nb::class_<Slot>(m, "Slot", "One value's place in the workspace.").def("__init__", [](Slot* s, int group, int position) { new (s) Slot{group, position}; });
  nb::class_<State>(m, "State", "A state and the slots of its value before the step, as it is and rounded.").def("__init__", [](State* s, int width, Operand before, Operand rounded) { new (s) State{width, before, rounded}; });
  nb::class_<VectorSource>(m, "VectorSource", "A vector parameter, or a number.")
      .def("__init__", [](VectorSource* v, int parameter, float number, int width) { new (v) VectorSource{parameter, number, width}; });
  nb::class_<Plan>(m, "Plan", "All that the engine executes for a cell at sizes.")
      .def(nb::init<>())
      .def_rw("input_size", &Plan::input_size)
      .def_rw("output_size", &Plan::output_size)
      .def_rw("parameter_rows", &Plan::parameter_rows)
      .def_rw("parameter_columns", &Plan::parameter_columns)
      .def_rw("slot_groups", &Plan::slot_groups)
      .def_rw("slots", &Plan::slots)
      .def_rw("states", &Plan::states)
      .def_rw("mask_sizes", &Plan::mask_sizes)
      .def_rw("vectors", &Plan::vectors)
      .def_rw("forward", &Plan::forward)
      .def_rw("backward", &Plan::backward)
      .def_rw("accumulations", &Plan::accumulations);

  nb::class_<Engine>(m, "Engine", "A plan on a target.")
      .def(nb::init<Plan, const std::string&, const std::string&>(), nb::arg("plan"), nb::arg("target"), nb::arg("precision"), in_engine)
      .def("packed_floats", &Engine::packed_floats, nb::arg("back"))
      .def("workspace_floats", &Engine::workspace_floats, nb::arg("sequences"), nb::arg("steps"), nb::arg("lengths").none(), nb::arg("keep"), in_engine)
      .def("packed_workspace_floats", &Engine::packed_workspace_floats, nb::arg("sizes"), nb::arg("keep"), in_engine)
      .def("pack", &Engine::pack, nb::arg("parameters"), nb::arg("packed"), nb::arg("back"), nb::arg("threads"), in_engine)
      .def("forward", &Engine::forward, nb::arg("parameters"), nb::arg("packed"), nb::arg("workspace"), nb::arg("x"), nb::arg("counts").none(), nb::arg("start"), nb::arg("masks"),
           nb::arg("y"), nb::arg("final"), nb::arg("reverse"), nb::arg("keep"), nb::arg("threads"), in_engine)
      .def("backward", &Engine::backward, nb::arg("parameters"), nb::arg("packed"), nb::arg("workspace"), nb::arg("x"), nb::arg("counts").none(),
           nb::arg("start"), nb::arg("masks"), nb::arg("dy").none(), nb::arg("d_final"), nb::arg("dx").none(), nb::arg("d_parameters"), nb::arg("d_start"),
           nb::arg("reverse"), nb::arg("threads"), nb::arg("add_dx") = false, in_engine)
      .def_prop_ro("target", &Engine::target);

  m.def("compare", &compare, nb::arg("target"), nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("counts"), nb::arg("scores"), nb::arg("threads"),
        "Scores of additive attention.", in_engine);
  m.def("compare_back", &compare_back, nb::arg("target"), nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("counts"), nb::arg("d_scores"),
        nb::arg("dq"), nb::arg("dk"), nb::arg("dv"), nb::arg("threads"), "Their derivatives.", in_engine);
  m.def("targets", &targets_here, "Targets that this processor runs, best first.");
  m.def("rounded_floats", [](const std::string& target, int width) { return target_named(target).bf16.rounded_floats(width); },
        nb::arg("target"), nb::arg("width"), "Floats that hold so many components of an operand in bfloat16.");
  m.def("floats", &floats, nb::arg("shape"), "An array of arbitrary contents from the engine's memory.", in_engine);
  m.def("fail_allocation", &fail_allocation, nb::arg("n"),
        "For tests: the nth allocation from now fails; 0 for none. Returns how many were left before.");
  m.def("checksum", &checksum, nb::arg("parameters"), "A number that changes when values of arrays do.");
  m.def("mask", &fill_mask, nb::arg("target"), nb::arg("seed"), nb::arg("keep"), nb::arg("value"), nb::arg("out"),
        "Fill with `value` where a uniform number of torch's generator of a seed is less than `keep`, else with 0.", in_engine);
  m.def("function", &call_function, "One operation on arrays, for tests.");
  m.def("share_openmp", &share_openmp, "Run on the threads of torch's OpenMP from now on, if they are to be had; says whether.");
  m.def("idle_bytes", &idle_bytes, "Bytes that lie idle in the arena.");
  m.def("taken_bytes", &taken_bytes, "Bytes of the arena that are in use.");
  m.def("idle_limit", &idle_limit, "Bytes that may lie idle.");
  m.def("set_idle_limit", &set_idle_limit, nb::arg("bytes"), "Set how many bytes may lie idle.");
  const char* codes[] = {"copy", "add", "sub", "mul", "div", "neg", "min", "max", "sigmoid", "tanh", "relu", "softplus", "exp", "log", "sqrt", "abs",
                         "sin", "cos", "elu", "silu", "gelu", "hard_sigmoid", "hard_tanh", "erf", "step", "sign", "greater", "mul_add", "sub_from",
                         "sigmoid_back", "tanh_back", "mix", "load_x", "load_dy", "load_mask", "store_next", "store_y", "store_dx", "layer_norm",
                         "layer_norm_backward", "round"};
  nb::dict numbers;
  for (int i = 0; i < static_cast<int>(std::size(codes)); ++i) numbers[codes[i]] = i;
  m.attr("CODES") = numbers;
  m.attr("SOURCE_DIGEST") = source_digest();
  bind_stepper(m);
}
