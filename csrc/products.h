// The seam of products: what precisions and matrix units differ in, as a table of functions. Everything else is float32.
#pragma once

#include <array>
#include <cstddef>

#include "plan.h"
#include "threads.h"

namespace elman {

struct Bound;

// An operand of a tile: element (r, j) at data + r * stride + j.
struct View {
  float* data = nullptr;
  size_t stride = 0;
};

// A group of products on a tile: `rows` rows, and of every target the columns [column, column + columns).
struct Product {
  const Group& group;
  const float* packed;  // weights of the group
  int rows, column, columns;
  bool far;                      // the weights of a step do not stay in the second-level cache
  View operand;                  // from its first column
  std::array<View, 4> to, from;  // by target, from `column`; `from` has no data where a sum starts from zero
};

// Weights are packed for 32 columns of all targets of a group at a time.
struct Products {
  int granule;  // rows are computed and laid out in multiples of so many columns: 16 or 32

  size_t (*packed_floats)(const Group&);
  void (*pack)(const Group&, int width, int column, const float* const* parameters, const int* strides, float* out);
  void (*multiply)(const Product&);

  // Rows of float32 to the form of Place::rounded: `columns` of them from `column` on, of which `width` - `column` are real.
  int (*rounded_floats)(int width);
  void (*round)(View from, View to, int rows, int column, int columns, int width);

  // Gradients of parameters: add what rows [first, last) give, with room for packed factors.
  size_t (*gradient_floats)(const Plan&, int threads);
  void (*accumulate)(const Bound&, int64_t first, int64_t last, float* room, int index, int threads, Barrier&);

  void (*enter)();  // by every thread before its first product
  void (*leave)();
};

}  // namespace elman
