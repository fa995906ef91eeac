// What Python sees of the engine.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "arena.h"
#include "dispatch.h"

namespace nb = nanobind;
using namespace elman;

namespace {

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using ReadFloats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Lengths = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

const Target& target_named(const std::string& name) {
  const Target* target = find_target(name);
  if (!target) throw std::invalid_argument("target: must be one this processor runs; got '" + name + "'");
  return *target;
}

void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

std::vector<const float*> pointers(const std::vector<ReadFloats>& arrays) {
  std::vector<const float*> found;
  for (const ReadFloats& a : arrays) found.push_back(a.data());
  return found;
}

Batch checked_batch(int64_t sequences, int64_t steps, const std::optional<Lengths>& lengths, bool reverse) {
  expect(sequences > 0 && steps > 0 && sequences < (1 << 30) && steps < (1 << 30), "batch: B and T must be positive");
  if (lengths) {
    expect(static_cast<int64_t>(lengths->shape(0)) == sequences, "lengths: must have shape (B,)");
    for (int64_t b = 0; b < sequences; ++b) expect(lengths->data()[b] >= 1 && lengths->data()[b] <= steps, "lengths: must be from 1 to T");
  }
  return make_batch(static_cast<int>(sequences), static_cast<int>(steps), lengths ? lengths->data() : nullptr, reverse);
}

// A plan and where it runs. Every array is checked against the plan here; below, pointers are trusted.
class Engine {
 public:
  Engine(Plan plan, const std::string& target) : plan_(std::move(plan)), target_(&target_named(target)) {}

  size_t packed_floats(bool back) const { return elman::packed_floats(plan_, back ? plan_.backward : plan_.forward); }

  size_t workspace_floats(int64_t sequences, int64_t steps, const std::optional<Lengths>& lengths, bool keep) const {
    return elman::workspace_floats(plan_, checked_batch(sequences, steps, lengths, false), keep);
  }

  void pack(const std::vector<ReadFloats>& parameters, Floats packed, bool back, int threads) const {
    check_parameters(parameters);
    check_packed(packed, back);
    const std::vector<const float*> from = pointers(parameters);
    nb::gil_scoped_release release;
    target_->pack(plan_, back ? plan_.backward : plan_.forward, from, packed.data(), threads);
  }

  void forward(const std::vector<ReadFloats>& parameters, ReadFloats packed, Floats workspace, ReadFloats x, std::optional<Lengths> lengths,
               const std::vector<ReadFloats>& start, const std::vector<ReadFloats>& masks, Floats y, const std::vector<Floats>& final,
               bool reverse, bool keep, int threads) const {
    const Batch batch = batch_of(x, lengths, reverse);
    Arrays arrays = arrays_of(parameters, x, start, masks);
    check_rows(y, batch, plan_.output_size, "y: must have shape (B, T, O)");
    arrays.y = y.data();
    check_states(final, batch, "final: must be one a state, of shape (B, S)");
    for (const Floats& f : final) arrays.final.push_back(f.data());
    check_packed(packed, false);
    check_workspace(workspace, batch, keep);
    nb::gil_scoped_release release;
    target_->forward(plan_, batch, arrays, packed.data(), workspace.data(), keep, threads);
  }

  void backward(const std::vector<ReadFloats>& parameters, ReadFloats packed, Floats workspace, ReadFloats x, std::optional<Lengths> lengths,
                const std::vector<ReadFloats>& start, const std::vector<ReadFloats>& masks, std::optional<ReadFloats> dy,
                const std::vector<std::optional<ReadFloats>>& d_final, std::optional<Floats> dx,
                const std::vector<std::optional<Floats>>& d_parameters, const std::vector<std::optional<Floats>>& d_start, bool reverse,
                int threads) const {
    const Batch batch = batch_of(x, lengths, reverse);
    const Arrays arrays = arrays_of(parameters, x, start, masks);
    Gradients gradients;
    if (dy) check_rows(*dy, batch, plan_.output_size, "dy: must have shape (B, T, O)");
    if (dx) check_rows(*dx, batch, plan_.input_size, "dx: must have shape (B, T, I)");
    gradients.dy = dy ? dy->data() : nullptr;
    gradients.dx = dx ? dx->data() : nullptr;
    expect(d_parameters.size() == parameters.size(), "d_parameters: one a parameter");
    for (size_t i = 0; i < d_parameters.size(); ++i) {
      expect(!d_parameters[i] || d_parameters[i]->size() == parameters[i].size(), "d_parameters: must have the shape of the parameter");
      gradients.d_parameters.push_back(d_parameters[i] ? d_parameters[i]->data() : nullptr);
    }
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
    target_->backward(plan_, batch, arrays, gradients, packed.data(), workspace.data(), threads);
  }

  const char* target() const { return target_->name; }

 private:
  void check_parameters(const std::vector<ReadFloats>& parameters) const {
    expect(parameters.size() == plan_.parameter_rows.size(), "parameters: must be those of the plan");
    for (size_t i = 0; i < parameters.size(); ++i)
      expect(parameters[i].size() == static_cast<size_t>(plan_.parameter_rows[i]) * std::max(1, plan_.parameter_columns[i]),
             "parameters: must have the sizes of the plan");
  }

  template <class Array>
  void check_packed(const Array& a, bool back) const {
    expect(a.size() >= packed_floats(back), "packed: too small");
  }

  void check_workspace(const Floats& a, const Batch& batch, bool keep) const {
    expect(a.size() >= elman::workspace_floats(plan_, batch, keep), "workspace: too small");
  }

  Batch batch_of(const ReadFloats& x, const std::optional<Lengths>& lengths, bool reverse) const {
    expect(x.ndim() == 3 && static_cast<int>(x.shape(2)) == plan_.input_size, "x: must have shape (B, T, I)");
    return checked_batch(x.shape(0), x.shape(1), lengths, reverse);
  }

  template <class Array>
  void check_rows(const Array& a, const Batch& batch, int width, const char* what) const {
    expect(a.size() == static_cast<size_t>(batch.sequences) * batch.steps * width, what);
  }

  template <class ArrayList>
  void check_states(const ArrayList& arrays, const Batch& batch, const char* what) const {
    expect(arrays.size() == plan_.states.size(), what);
    for (size_t s = 0; s < arrays.size(); ++s)
      expect(arrays[s].size() == static_cast<size_t>(batch.sequences) * plan_.states[s].width, what);
  }

  Arrays arrays_of(const std::vector<ReadFloats>& parameters, const ReadFloats& x, const std::vector<ReadFloats>& start,
                   const std::vector<ReadFloats>& masks) const {
    check_parameters(parameters);
    Arrays arrays;
    arrays.parameters = pointers(parameters);
    arrays.x = x.data();
    expect(start.size() == plan_.states.size(), "start: one a state");
    for (size_t s = 0; s < start.size(); ++s) expect(start[s].size() == x.shape(0) * plan_.states[s].width, "start: must have shape (B, S)");
    arrays.start = pointers(start);
    expect(masks.size() == plan_.mask_sizes.size(), "masks: must be those of the plan");
    for (size_t m = 0; m < masks.size(); ++m) {
      expect(masks[m].ndim() == 3 && masks[m].shape(0) == x.shape(0) && (masks[m].shape(1) == 1 || masks[m].shape(1) == x.shape(1)) &&
                 static_cast<int>(masks[m].shape(2)) == plan_.mask_sizes[m],
             "masks: must have shape (B, 1, S) or (B, T, S)");
      arrays.masks.push_back({masks[m].data(), static_cast<int64_t>(masks[m].shape(1))});
    }
    return arrays;
  }

  Plan plan_;
  const Target* target_;
};

// An array in the engine's memory, for results and workspaces that live as long as somebody holds them.
nb::ndarray<float, nb::c_contig, nb::device::cpu> floats(const std::vector<size_t>& shape) {
  size_t size = 1;
  for (const size_t n : shape) {
    if (n != 0 && size > SIZE_MAX / sizeof(float) / n) throw std::bad_alloc();
    size *= n;
  }
  void* const block = take(size * sizeof(float));
  const nb::capsule owner(block, [](void* p) noexcept { give(p); });
  return nb::ndarray<float, nb::c_contig, nb::device::cpu>(static_cast<float*>(block), shape.size(), shape.data(), owner);
}

std::vector<float> call_function(const std::string& target, int code, const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c) {
  std::vector<float> out(a.size());
  target_named(target).function(static_cast<Opcode>(code), a.data(), b.size() == a.size() ? b.data() : nullptr,
                                c.size() == a.size() ? c.data() : nullptr, out.data(), a.size());
  return out;
}

}  // namespace

NB_MODULE(_engine, m) {
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
  nb::class_<State>(m, "State", "A state and the slot of its value before the step.").def("__init__", [](State* s, int width, Operand before) { new (s) State{width, before}; });
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
      .def(nb::init<Plan, const std::string&>(), nb::arg("plan"), nb::arg("target"))
      .def("packed_floats", &Engine::packed_floats, nb::arg("back"))
      .def("workspace_floats", &Engine::workspace_floats, nb::arg("sequences"), nb::arg("steps"), nb::arg("lengths").none(), nb::arg("keep"))
      .def("pack", &Engine::pack, nb::arg("parameters"), nb::arg("packed"), nb::arg("back"), nb::arg("threads"))
      .def("forward", &Engine::forward, nb::arg("parameters"), nb::arg("packed"), nb::arg("workspace"), nb::arg("x"), nb::arg("lengths").none(), nb::arg("start"), nb::arg("masks"),
           nb::arg("y"), nb::arg("final"), nb::arg("reverse"), nb::arg("keep"), nb::arg("threads"))
      .def("backward", &Engine::backward, nb::arg("parameters"), nb::arg("packed"), nb::arg("workspace"), nb::arg("x"), nb::arg("lengths").none(),
           nb::arg("start"), nb::arg("masks"), nb::arg("dy").none(), nb::arg("d_final"), nb::arg("dx").none(), nb::arg("d_parameters"), nb::arg("d_start"),
           nb::arg("reverse"), nb::arg("threads"))
      .def_prop_ro("target", &Engine::target);

  m.def("targets", &targets_here, "Targets that this processor runs, best first.");
  m.def("floats", &floats, nb::arg("shape"), "An array of arbitrary contents from the engine's memory.");
  m.def("function", &call_function, "One operation on arrays, for tests.");
  m.def("idle_bytes", &idle_bytes, "Bytes that lie idle in the arena.");
  m.def("taken_bytes", &taken_bytes, "Bytes of the arena that are in use.");
  m.def("idle_limit", &idle_limit, "Bytes that may lie idle.");
  m.def("set_idle_limit", &set_idle_limit, nb::arg("bytes"), "Set how many bytes may lie idle.");
  const char* codes[] = {"copy", "add", "sub", "mul", "div", "neg", "min", "max", "sigmoid", "tanh", "relu", "softplus", "exp", "log", "sqrt", "abs",
                         "sin", "cos", "elu", "silu", "gelu", "hard_sigmoid", "hard_tanh", "erf", "step", "sign", "greater", "mul_add", "sub_from",
                         "sigmoid_back", "tanh_back", "mix", "load_x", "load_dy", "load_mask", "store_next", "store_y", "store_dx", "layer_norm",
                         "layer_norm_backward"};
  nb::dict numbers;
  for (int i = 0; i < static_cast<int>(std::size(codes)); ++i) numbers[codes[i]] = i;
  m.attr("CODES") = numbers;
}
