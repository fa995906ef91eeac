// Products of rows with packed matrices. Every sum runs through its depth in one order, one fused multiply-add a term,
// whatever the number of rows, the blocking and the threads: a sequence gets the same bits in any company.
#pragma once

#include <algorithm>

#include "bound.h"
#include "simd.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

inline constexpr int unit = 16;  // columns of the narrowest panel

// Columns of one target in a panel: panels are two vectors of 16 wide where there are few targets.
inline int panel_columns(int targets) { return targets <= 2 ? 2 * unit : unit; }

// A panel holds, for each step of the depth, panel_columns of each target; columns beyond the width are zero.
inline size_t panel_floats(const Group& group) {
  return static_cast<size_t>(panel_columns(static_cast<int>(group.targets.size()))) * group.targets.size() * group.depth;
}

inline size_t packed_floats(const Group& group) { return static_cast<size_t>(column_granule) * group.targets.size() * group.depth; }

inline void pack_panel(const Group& group, int width, int column, const float* const* parameters, const int* strides, float* out) {
  const int columns = panel_columns(static_cast<int>(group.targets.size()));
  const int real = std::clamp(width - column, 0, columns);
  const int row = columns * static_cast<int>(group.factors.size());
  for (size_t g = 0; g < group.factors.size(); ++g) {
    const Factor& f = group.factors[g];
    const int stride = strides[f.parameter];
    const float* w = parameters[f.parameter] + f.first_column;
    float* to = out + g * columns;
    if (f.transposed) {  // target column j takes W[k, j]
      for (int k = 0; k < group.depth; ++k)
        for (int j = 0; j < columns; ++j) to[static_cast<size_t>(k) * row + j] = j < real ? w[static_cast<size_t>(k) * stride + column + j] : 0.0f;
    } else {  // target column j takes W[j, k]; blocks of 16 in depth, so that lines of `out` are written while in cache
      for (int k0 = 0; k0 < group.depth; k0 += 16)
        for (int j = 0; j < columns; ++j)
          for (int k = k0; k < std::min(k0 + 16, group.depth); ++k)
            to[static_cast<size_t>(k) * row + j] = j < real ? w[static_cast<size_t>(column + j) * stride + k] : 0.0f;
    }
  }
}

inline void pack(const Group& group, int width, int column, const float* const* parameters, const int* strides, float* out) {
  const int columns = panel_columns(static_cast<int>(group.targets.size()));
  for (int shift = 0; shift < column_granule; shift += columns, out += panel_floats(group))
    pack_panel(group, width, column + shift, parameters, strides, out);
}

// Weights of bfloat16, as the floats that they are.
inline void pack_rounded(const Group& group, int width, int column, const float* const* parameters, const int* strides, float* out) {
  pack(group, width, column, parameters, strides, out);
  for (size_t i = 0; i < packed_floats(group); i += Vec::lanes) to_bf16(Vec::load(out + i)).store(out + i);
}

// Where a kernel writes: for each target, its first row and the distance of rows. Same for what sums start from.
struct Sink {
  float* to;
  size_t to_stride;
  const float* from;  // nullptr: zero
  size_t from_stride;
};

// Lines of memory that a kernel brings nearer while it computes: `lines` for each of its sums.
struct Ahead {
  const float* data = nullptr;
  int lines = 0;
};

inline void prefetch_next(const Sink& sink, int row, int column, int columns) {
  if (sink.from && sink.from_stride) __builtin_prefetch(sink.from + row * sink.from_stride + column + columns, 0);
  __builtin_prefetch(sink.to + row * sink.to_stride + column + columns, 1);
}

// R rows times `Panels` neighbouring panels of G targets x Q units. Packed: the rows lie interleaved, a[k * R + r].
template <int R, int G, int Q, int Panels, bool Packed = false>
inline void kernel(int depth, const float* a, size_t a_stride, const float* panel, size_t panel_size, const Sink* sinks, Ahead ahead) {
  constexpr int parts = unit / Vec::lanes;  // native vectors in a unit
  // A narrow target does its units one after the other, so that the sums stay in registers.
  constexpr int wide = Vec::lanes == 16 ? Q : 1, groups_at_once = Vec::lanes == 16 ? G : 1;
  constexpr int at_once = Vec::lanes == 1 ? 1 : parts;
  constexpr int n = Panels * groups_at_once * wide * at_once;
  for (int g0 = 0; g0 < G; g0 += groups_at_once)
    for (int q0 = 0; q0 < Q; q0 += wide)
      for (int s0 = 0; s0 < parts; s0 += at_once) {
        Vec sum[R][n];
        const auto column = [&](int i) { return (q0 + i / at_once % wide) * unit + (s0 + i % at_once) * Vec::lanes; };
        const auto target = [&](int i) { return g0 + i / (at_once * wide) % groups_at_once; };
        const auto which = [&](int i) { return i / (at_once * wide * groups_at_once); };
#pragma GCC unroll 32
        for (int i = 0; i < n; ++i) {
          const Sink& sink = sinks[target(i)];
#pragma GCC unroll 32
          for (int r = 0; r < R; ++r)
            sum[r][i] = sink.from ? Vec::load(sink.from + r * sink.from_stride + which(i) * Q * unit + column(i)) : Vec::all(0.0f);
        }
        const float* w = panel;
        for (int k = 0, line = 0; k < depth; ++line) {
          // What the sums of the next columns start from and end in is often not in the cache, and comes nearer meanwhile.
          const bool more = line < R * n;
          if (more) prefetch_next(sinks[target(line % n)], line / n, which(line % n) * Q * unit + column(line % n), Q * unit);
          for (int i = 0; more && i < ahead.lines; ++i, ahead.data += 16) __builtin_prefetch(ahead.data, 0, 2);
          for (const int end = more ? k + depth / (R * n) : depth; k < end; ++k, w += G * Q * unit) {
            Vec b[n];
#pragma GCC unroll 32
            for (int i = 0; i < n; ++i) b[i] = Vec::load(w + which(i) * panel_size + target(i) * Q * unit + column(i));
#pragma GCC unroll 32
            for (int r = 0; r < R; ++r) {
              const Vec x = Vec::all(Packed ? a[static_cast<size_t>(k) * R + r] : a[r * a_stride + k]);
#pragma GCC unroll 32
              for (int i = 0; i < n; ++i) sum[r][i] = fma(x, b[i], sum[r][i]);
            }
          }
        }
#pragma GCC unroll 32
        for (int i = 0; i < n; ++i) {
          const Sink& sink = sinks[target(i)];
#pragma GCC unroll 32
          for (int r = 0; r < R; ++r) sum[r][i].store(sink.to + r * sink.to_stride + which(i) * Q * unit + column(i));
        }
      }
}

// The most rows whose sums stay in registers, by number of targets.
inline constexpr int most_rows(int targets) {
  if (Vec::lanes == 16) return targets == 1 ? 12 : targets == 2 ? 6 : targets == 3 ? 8 : 6;
  return Vec::lanes == 8 ? 6 : 4;
}

using Kernel = void (*)(int, const float*, size_t, const float*, size_t, const Sink*, Ahead);

template <int G, int Q, int R>
constexpr Kernel pick() {
  if constexpr (R <= most_rows(G)) return &kernel<R, G, Q, 1>;
  else return nullptr;
}

template <int G, int Q>
inline Kernel kernel_of(int rows) {
  static constexpr Kernel table[] = {
      nullptr,          pick<G, Q, 1>(), pick<G, Q, 2>(), pick<G, Q, 3>(),  pick<G, Q, 4>(),  pick<G, Q, 5>(), pick<G, Q, 6>(),
      pick<G, Q, 7>(), pick<G, Q, 8>(), pick<G, Q, 9>(), pick<G, Q, 10>(), pick<G, Q, 11>(), pick<G, Q, 12>()};
  return table[rows];
}

inline Kernel kernel_for(int targets, int rows) {
  switch (targets) {
    case 1: return kernel_of<1, 2>(rows);
    case 2: return kernel_of<2, 2>(rows);
    case 3: return kernel_of<3, 1>(rows);
    default: return kernel_of<4, 1>(rows);
  }
}

// For one or two rows a single panel has too few sums to hide the latency of an addition.
inline constexpr int panels_at_once(int targets) { return targets == 1 ? 4 : targets == 2 ? 2 : targets == 3 ? 3 : 2; }

inline Kernel wide_kernel_for(int targets, int rows) {
  switch (targets * 10 + rows) {
    case 11: return &kernel<1, 1, 2, panels_at_once(1)>;
    case 12: return &kernel<2, 1, 2, panels_at_once(1)>;
    case 21: return &kernel<1, 2, 2, panels_at_once(2)>;
    case 22: return &kernel<2, 2, 2, panels_at_once(2)>;
    case 31: return &kernel<1, 3, 1, panels_at_once(3)>;
    case 32: return &kernel<2, 3, 1, panels_at_once(3)>;
    case 41: return &kernel<1, 4, 1, panels_at_once(4)>;
    case 42: return &kernel<2, 4, 1, panels_at_once(4)>;
    default: return nullptr;
  }
}

inline void multiply(const Product& p) {
  const int targets = static_cast<int>(p.group.targets.size()), width = panel_columns(targets), depth = p.group.depth;
  const size_t panel_size = panel_floats(p.group);
  const auto sinks_at = [&](int row, int shift) {
    std::array<Sink, 4> sinks;
    for (int g = 0; g < targets; ++g)
      sinks[g] = {p.to[g].data + row * p.to[g].stride + shift, p.to[g].stride,
                  p.from[g].data ? p.from[g].data + row * p.from[g].stride + shift : nullptr, p.from[g].stride};
    return sinks;
  };
  const int together = panels_at_once(targets) * width;
  const Kernel wide = p.rows <= 2 ? wide_kernel_for(targets, p.rows) : nullptr;
  for (int shift = 0; shift < p.columns;) {
    const float* panel = p.packed + (p.column + shift) / width * panel_size;
    if (wide && shift + together <= p.columns) {
      wide(depth, p.operand.data, p.operand.stride, panel, panel_size, sinks_at(0, shift).data(), {});
      shift += together;
      continue;
    }
    const int chunks = (p.rows + most_rows(targets) - 1) / most_rows(targets);
    for (int i = 0, row = 0; i < chunks; ++i) {
      const int count = (p.rows - row + chunks - i - 1) / (chunks - i);
      Ahead next;
      if (p.far) next = {panel + panel_size + panel_size / chunks * i, static_cast<int>(panel_size) / chunks / (count * width * targets)};
      kernel_for(targets, count)(depth, p.operand.data + row * p.operand.stride, p.operand.stride, panel, panel_size, sinks_at(row, shift).data(), next);
      row += count;
    }
    shift += width;
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
