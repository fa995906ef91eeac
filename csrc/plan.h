// What the engine executes: the schedule of a cell with its sizes, as data. No cell is known here by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace elman {

// Where a value of the programme lies.
//   rows    one row a step and sequence: row offset[t] + b of a slot in the workspace
//   tile    in the first-level cache, for the tile of rows and columns at hand
//   vector  a parameter or a number, the same for every row
//   carry   one row a sequence: derivatives that walk back through time
//   rounded as rows, in the form in which products of bfloat16 read their operands
enum class Place : int32_t { none = 0, rows = 1, tile = 2, vector = 3, carry = 4, rounded = 5 };

struct Operand {
  Place place = Place::none;
  int32_t index = 0;
};

// Operations of a pointwise programme. The first block computes; the second moves values between the programme and the
// caller's arrays, whose rows stand in the caller's order of sequences and time.
enum class Opcode : int32_t {
  copy, add, sub, mul, div, neg, min, max, sigmoid, tanh, relu, softplus, exp, log, sqrt, abs, sin, cos, elu, silu, gelu,
  hard_sigmoid, hard_tanh, erf, step, sign, greater,
  mul_add,      // a * b + c
  sub_from,     // c - a * b
  sigmoid_back, // a * b * (1 - b)
  tanh_back,    // a * (1 - b * b)
  mix,          // a * b + (1 - a) * c
  load_x, load_dy, load_mask, store_next, store_y, store_dx,
  layer_norm, layer_norm_backward,  // over whole rows
  round,                            // to bfloat16; its target lies in Place::rounded
};

struct Instruction {
  Opcode code;
  Operand target, a, b, c;
  int32_t number = 0;  // which state, mask or size a moving operation means
};

// Columns of a matrix parameter as a product uses them: target = operand @ W[:, first:].T, or operand @ W[:, first:].
struct Factor {
  int32_t parameter = 0;
  int32_t first_column = 0;
  bool transposed = false;
};

// Products of one operand with up to four matrices, side by side.
struct Group {
  Operand operand;
  int32_t depth = 0;               // length of the operand
  std::vector<Operand> targets;
  std::vector<Operand> starts;     // what a sum starts from; Place::none for zero
  std::vector<Factor> factors;
};

// Row operations, then products, then pointwise operations, on columns of one width.
struct Pass {
  std::vector<Instruction> row_operations;
  std::vector<Group> groups;
  std::vector<Instruction> instructions;
  int32_t width = 0;       // columns
  int32_t tiles = 0;       // tile registers used
  bool wait_rows = false;  // row operations read what other threads wrote in this step
  bool wait = false;       // products, or what follows the row operations, read what other threads wrote in this step
};

// The gradient of columns of a matrix: sum over rows of outer(left, right); of a vector when there is no right factor.
struct Accumulation {
  int32_t parameter = 0;
  int32_t first_column = 0;
  Operand left, right;
  int32_t left_width = 0, right_width = 0;
};

struct Slot {
  int32_t group = 0, position = 0;
};

struct SlotGroup {
  int32_t width = 0, slots = 0;
};

// Where the value of a state before a step lies; Place::none where nobody reads it in that form.
struct State {
  int32_t width = 0;
  Operand before;   // Place::rows
  Operand rounded;  // Place::rounded
};

struct VectorSource {
  int32_t parameter = -1;  // -1: `number`
  float number = 0.0f;
  int32_t width = 0;
};

struct Programme {
  std::vector<Pass> bulk_before;  // over all steps at once, before the loop
  std::vector<Pass> step;
  std::vector<Pass> bulk_after;   // over all steps at once, after the loop
};

struct Plan {
  int32_t input_size = 0, output_size = 0;
  std::vector<int32_t> parameter_rows, parameter_columns;  // columns 0 for a vector
  std::vector<SlotGroup> slot_groups;
  std::vector<Slot> slots;
  std::vector<State> states;
  std::vector<int32_t> mask_sizes;
  std::vector<VectorSource> vectors;
  Programme forward, backward;
  std::vector<Accumulation> accumulations;
};

}  // namespace elman
