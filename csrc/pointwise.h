// The pointwise programme: each operation runs over a tile of rows x columns that lies in the first-level cache.
#pragma once

#include "products.h"
#include "vector_math.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

struct Tile {
  int rows = 0, columns = 0;  // columns is a multiple of 16: padding is computed too, and never read by a product
};

template <class Function>
inline void map1(const Tile& tile, View to, View a, Function function) {
  for (int r = 0; r < tile.rows; ++r) {
    float* out = to.data + r * to.stride;
    const float* x = a.data + r * a.stride;
    for (int j = 0; j < tile.columns; j += Vec::lanes) function(Vec::load(x + j)).store(out + j);
  }
}

template <class Function>
inline void map2(const Tile& tile, View to, View a, View b, Function function) {
  for (int r = 0; r < tile.rows; ++r) {
    float* out = to.data + r * to.stride;
    const float *x = a.data + r * a.stride, *y = b.data + r * b.stride;
    for (int j = 0; j < tile.columns; j += Vec::lanes) function(Vec::load(x + j), Vec::load(y + j)).store(out + j);
  }
}

template <class Function>
inline void map3(const Tile& tile, View to, View a, View b, View c, Function function) {
  for (int r = 0; r < tile.rows; ++r) {
    float* out = to.data + r * to.stride;
    const float *x = a.data + r * a.stride, *y = b.data + r * b.stride, *z = c.data + r * c.stride;
    for (int j = 0; j < tile.columns; j += Vec::lanes)
      function(Vec::load(x + j), Vec::load(y + j), Vec::load(z + j)).store(out + j);
  }
}

inline void compute(Opcode code, const Tile& tile, View to, View a, View b, View c) {
  const Vec zero = Vec::all(0.0f), one = Vec::all(1.0f);
  switch (code) {
    case Opcode::copy: return map1(tile, to, a, [](Vec x) { return x; });
    case Opcode::add: return map2(tile, to, a, b, [](Vec x, Vec y) { return x + y; });
    case Opcode::sub: return map2(tile, to, a, b, [](Vec x, Vec y) { return x - y; });
    case Opcode::mul: return map2(tile, to, a, b, [](Vec x, Vec y) { return x * y; });
    case Opcode::div: return map2(tile, to, a, b, [](Vec x, Vec y) { return x / y; });
    case Opcode::neg: return map1(tile, to, a, [](Vec x) { return -x; });
    case Opcode::min: return map2(tile, to, a, b, [](Vec x, Vec y) { return smaller(x, y); });
    case Opcode::max: return map2(tile, to, a, b, [](Vec x, Vec y) { return larger(x, y); });
    case Opcode::sigmoid: return map1(tile, to, a, [](Vec x) { return sigmoid(x); });
    case Opcode::tanh: return map1(tile, to, a, [](Vec x) { return tangent(x); });
    case Opcode::relu: return map1(tile, to, a, [=](Vec x) { return choose(less(x, zero), zero, x); });
    case Opcode::softplus: return map1(tile, to, a, [](Vec x) { return softplus(x); });
    case Opcode::exp: return map1(tile, to, a, [](Vec x) { return exponential(x); });
    case Opcode::log: return map1(tile, to, a, [](Vec x) { return logarithm(x); });
    case Opcode::sqrt: return map1(tile, to, a, [](Vec x) { return root(x); });
    case Opcode::abs: return map1(tile, to, a, [](Vec x) { return absolute(x); });
    case Opcode::sin: return map1(tile, to, a, [](Vec x) { return sine(x); });
    case Opcode::cos: return map1(tile, to, a, [](Vec x) { return cosine(x); });
    case Opcode::elu: return map1(tile, to, a, [](Vec x) { return elu(x); });
    case Opcode::silu: return map1(tile, to, a, [](Vec x) { return x * sigmoid(x); });
    case Opcode::gelu: return map1(tile, to, a, [](Vec x) { return gelu(x); });
    case Opcode::hard_sigmoid:
      return map1(tile, to, a, [](Vec x) { return within(x / Vec::all(6.0f) + Vec::all(0.5f), 0.0f, 1.0f); });
    case Opcode::hard_tanh: return map1(tile, to, a, [](Vec x) { return within(x, -1.0f, 1.0f); });
    case Opcode::erf: return map1(tile, to, a, [](Vec x) { return error_function(x); });
    case Opcode::step: return map1(tile, to, a, [=](Vec x) { return choose(less(zero, x), one, zero); });
    case Opcode::sign: return map1(tile, to, a, [](Vec x) { return sign(x); });
    case Opcode::greater: return map2(tile, to, a, b, [=](Vec x, Vec y) { return choose(less(y, x), one, zero); });
    case Opcode::mul_add: return map3(tile, to, a, b, c, [](Vec x, Vec y, Vec z) { return fma(x, y, z); });
    case Opcode::sub_from: return map3(tile, to, a, b, c, [](Vec x, Vec y, Vec z) { return fnma(x, y, z); });
    case Opcode::sigmoid_back: return map2(tile, to, a, b, [=](Vec d, Vec y) { return d * (y * (one - y)); });
    case Opcode::tanh_back: return map2(tile, to, a, b, [=](Vec d, Vec y) { return d * fnma(y, y, one); });
    case Opcode::mix: return map3(tile, to, a, b, c, [=](Vec u, Vec x, Vec y) { return fma(u, x, fnma(u, y, y)); });
    default: __builtin_unreachable();  // moving and row operations are not pointwise
  }
}

inline constexpr float layer_norm_epsilon = 1e-5f;

// The sum over a row of term(vector, start): lane by lane, then the lanes in order, so that it never depends on company.
template <class Term>
inline float row_sum(int width, Term term) {
  Vec sums = Vec::all(0.0f);
  int j = 0;
  for (; j + Vec::lanes <= width; j += Vec::lanes) sums = sums + term(j, Vec::lanes);
  if (j < width) {
    alignas(64) float last[Vec::lanes] = {};
    term(j, width - j).store(last, width - j);
    sums = sums + Vec::load(last);
  }
  alignas(64) float lanes[Vec::lanes];
  sums.store(lanes);
  float total = 0.0f;
  for (float lane : lanes) total += lane;
  return total;
}

struct Moments {
  float mean, scale;  // scale = 1 / sqrt(variance + epsilon)
};

inline Moments moments(const float* x, int width) {
  const float mean = row_sum(width, [x](int j, int n) { return Vec::load(x + j, n); }) / width;
  const float variance = row_sum(width, [=](int j, int n) {
    const Vec off = Vec::load(x + j, n) - Vec::all(mean);
    return off * off;
  }) / width;
  return {mean, 1.0f / std::sqrt(variance + layer_norm_epsilon)};
}

inline void layer_norm(float* to, const float* x, int width) {
  const auto [mean, scale] = moments(x, width);
  const Vec center = Vec::all(mean), factor = Vec::all(scale);
  for (int j = 0; j < width; j += Vec::lanes) {
    const int n = width - j < Vec::lanes ? width - j : Vec::lanes;
    ((Vec::load(x + j, n) - center) * factor).store(to + j, n);
  }
}

// d_x = (d - mean(d) - y mean(d y)) scale, with y = layer_norm(x).
inline void layer_norm_backward(float* to, const float* x, const float* d, int width) {
  const auto [mean, scale] = moments(x, width);
  const Vec center = Vec::all(mean), factor = Vec::all(scale);
  const auto y = [=](int j, int n) { return (Vec::load(x + j, n) - center) * factor; };
  const Vec level = Vec::all(row_sum(width, [=](int j, int n) { return Vec::load(d + j, n); }) / width);
  const Vec slope = Vec::all(row_sum(width, [=](int j, int n) { return Vec::load(d + j, n) * y(j, n); }) / width);
  for (int j = 0; j < width; j += Vec::lanes) {
    const int n = width - j < Vec::lanes ? width - j : Vec::lanes;
    (fnma(y(j, n), slope, Vec::load(d + j, n) - level) * factor).store(to + j, n);
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
