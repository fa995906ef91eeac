// Products of rows with packed matrices. Every sum runs through its depth in one order, one fused multiply-add a term,
// whatever the number of rows, the blocking and the threads: a sequence gets the same bits in any company.
#pragma once

#include <algorithm>

#include "bound.h"
#include "transpose.h"
#if defined(ELMAN_AVX2)
#include "rows_avx2.h"
#endif

namespace elman::ELMAN_TARGET_NAMESPACE {

inline constexpr int unit = 16;  // columns of the narrowest panel

// A wide target keeps the sums of a whole panel in registers. A narrow one multiplies a unit at a time, and its panels
// hold the units one after the other: a unit among others is read a line in four, which fall into a quarter of the
// sets of the first-level cache.
inline constexpr bool narrow = Vec::lanes < 16;

// Columns of one target in a panel: panels are two vectors of 16 wide where there are few targets.
inline int panel_columns(int targets) { return targets <= 2 ? 2 * unit : unit; }

// A panel holds, for each step of the depth, panel_columns of each target (narrow: for each target and unit, a unit for
// each step of the depth); columns beyond the width are zero.
inline size_t panel_floats(const Group& group) {
  return static_cast<size_t>(panel_columns(static_cast<int>(group.targets.size()))) * group.targets.size() * group.depth;
}

inline size_t packed_floats(const Group& group) { return static_cast<size_t>(column_granule) * group.targets.size() * group.depth; }

// A factor's columns [column, column + columns), of which `real` exist, to rows of `out` that lie `row` apart.
inline void pack_factor(const Factor& f, int depth, const float* w, size_t stride, int column, int columns, int real, float* out, size_t row) {
  if (f.transposed) {  // target column j takes W[k, j]
    for (int k = 0; k < depth; ++k) {
      copy_columns(out + k * row, w + k * stride + column, real);
      std::fill(out + k * row + real, out + k * row + columns, 0.0f);
    }
  } else {  // target column j takes W[j, k]; a square at a time
    for (int k = 0; k < depth; k += Vec::lanes) {
      const int deep = std::min(Vec::lanes, depth - k);
      for (int j = 0; j < columns; j += Vec::lanes) {
        Vec square[Vec::lanes];
        for (int i = 0; i < Vec::lanes; ++i) square[i] = j + i < real ? Vec::load(w + (column + j + i) * stride + k, deep) : Vec::all(0.0f);
        transpose(square);
        for (int i = 0; i < deep; ++i) square[i].store(out + (k + i) * row + j);
      }
    }
  }
}

inline void pack_panel(const Group& group, int width, int column, const float* const* parameters, const int* strides, float* out) {
  const int columns = panel_columns(static_cast<int>(group.targets.size()));
  const int run = narrow ? unit : columns;
  const size_t row = narrow ? unit : columns * group.factors.size();
  for (const Factor& f : group.factors)
    for (int shift = 0; shift < columns; shift += run, out += narrow ? static_cast<size_t>(group.depth) * unit : run)
      pack_factor(f, group.depth, parameters[f.parameter] + f.first_column, strides[f.parameter], column + shift, run,
                  std::clamp(width - column - shift, 0, run), out, row);
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

// Lines of memory that a kernel brings nearer while it computes: `lines` for each unit of its sums.
struct Ahead {
  const float* data = nullptr;
  int lines = 0;
};

inline void prefetch_next(const Sink& sink, int row, int column, int columns) {
  if (sink.from && sink.from_stride) __builtin_prefetch(sink.from + row * sink.from_stride + column + columns, 0);
  __builtin_prefetch(sink.to + row * sink.to_stride + column + columns, 1);
}

// R rows times `Panels` neighbouring panels of G targets x Q units, or the first Q of `Of` units. Packed: the rows lie
// interleaved, a[k * R + r].
template <int R, int G, int Q, int Panels, bool Packed = false, int Of = Q>
inline void kernel(int depth, const float* a, size_t a_stride, const float* panel, size_t panel_size, const Sink* sinks, Ahead ahead) {
  constexpr int parts = unit / Vec::lanes;  // native vectors in a unit
  constexpr int wide = narrow ? 1 : Q, groups_at_once = narrow ? 1 : G;
  constexpr int row = narrow ? unit : G * Of * unit;  // of a panel, a step of the depth
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
        const float* w = narrow ? panel + static_cast<size_t>(g0 * Q + q0) * depth * unit : panel;
        const auto weight = [&](int i) { return narrow ? column(i) - q0 * unit : target(i) * Of * unit + column(i); };
        // What the sums of the next columns start from and end in is often not in the cache, and comes nearer meanwhile: a
        // line at a time, or in short products, where each pause would be felt, four.
        constexpr int units = n / at_once, lines = R * units;
        const bool brief = depth < 16 * lines;
        const int at_a_pause = brief ? 4 : 1, run = brief ? depth / ((lines + 3) / 4) : depth / lines;
        for (int k = 0, line = 0; k < depth;) {
          const int end = line < lines ? k + run : depth;
          for (const int last = std::min(line + at_a_pause, lines); line < last; ++line) {
            const int i = line % units * at_once;
            prefetch_next(sinks[target(i)], line / units, which(i) * Q * unit + column(i), Q * unit);
            for (int j = 0; j < ahead.lines; ++j, ahead.data += 16) __builtin_prefetch(ahead.data, 0, 2);
          }
          for (; k < end; ++k, w += row) {
            Vec b[n];
#pragma GCC unroll 32
            for (int i = 0; i < n; ++i) b[i] = Vec::load(w + which(i) * panel_size + weight(i));
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

using Kernel = void (*)(int, const float*, size_t, const float*, size_t, const Sink*, Ahead);

#if defined(ELMAN_AVX2)
template <int R, bool Packed>
inline void written_out(int depth, const float* a, size_t a_stride, const float* panel, size_t, const Sink* sink, Ahead ahead) {
  rows_times_unit<R, Packed>(depth, a, a_stride, panel, sink->from, sink->from_stride, sink->to, sink->to_stride, ahead.data ? ahead.data : panel);
}
#endif

template <int R, int G, int Q, bool Packed, int Of = Q>
constexpr Kernel best_kernel() {
#if defined(ELMAN_AVX2)
  if constexpr (R >= 4 && G * Q == 1) return &written_out<R, Packed>;
  else
#endif
    return &kernel<R, G, Q, 1, Packed, Of>;
}

// The most rows whose sums stay in registers, by number of targets.
inline constexpr int most_rows(int targets) {
  if (Vec::lanes == 16) return targets == 1 ? 12 : targets == 2 ? 6 : targets == 3 ? 8 : 6;
  return Vec::lanes == 8 ? 6 : 4;
}

template <int G, int Q, int Of, int R>
constexpr Kernel pick() {
  if constexpr (R <= most_rows(G)) return best_kernel<R, G, Q, false, Of>();
  else return nullptr;
}

template <int G, int Q, int Of = Q>
inline Kernel kernel_of(int rows) {
  static constexpr Kernel table[] = {nullptr,
                                     pick<G, Q, Of, 1>(), pick<G, Q, Of, 2>(), pick<G, Q, Of, 3>(), pick<G, Q, Of, 4>(),
                                     pick<G, Q, Of, 5>(), pick<G, Q, Of, 6>(), pick<G, Q, Of, 7>(), pick<G, Q, Of, 8>(),
                                     pick<G, Q, Of, 9>(), pick<G, Q, Of, 10>(), pick<G, Q, Of, 11>(), pick<G, Q, Of, 12>()};
  return table[rows];
}

// `units`: of a panel, those that are wanted.
inline Kernel kernel_for(int targets, int units, int rows) {
  if constexpr (narrow) return kernel_of<1, 1>(rows);
  switch (targets) {
    case 1: return units == 2 ? kernel_of<1, 2>(rows) : kernel_of<1, 1, 2>(rows);
    case 2: return units == 2 ? kernel_of<2, 2>(rows) : kernel_of<2, 1, 2>(rows);
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

// Of target g, from a row and a column of the product's on.
inline Sink sink_at(const Product& p, size_t g, int row, int shift) {
  const View &to = p.to[g], &from = p.from[g];
  return {to.data + row * to.stride + shift, to.stride, from.data ? from.data + row * from.stride + shift : nullptr, from.stride};
}

inline std::array<Sink, 4> sinks_at(const Product& p, int row, int shift) {
  std::array<Sink, 4> sinks;
  for (size_t g = 0; g < p.group.targets.size(); ++g) sinks[g] = sink_at(p, g, row, shift);
  return sinks;
}

// Steps [k, k + depth) of a panel times all rows, in chunks of rows whose sums stay in registers. `columns`: of one target.
template <class SinksAt>
inline void in_chunks(const Product& p, int targets, int k, int depth, const float* panel, size_t panel_size, int columns, SinksAt sinks_of) {
  const int chunks = (p.rows + most_rows(targets) - 1) / most_rows(targets);
  for (int i = 0, row = 0; i < chunks; ++i) {
    const int count = (p.rows - row + chunks - i - 1) / (chunks - i);
    Ahead next;
    if (p.far) next = {panel + panel_size + panel_size / chunks * i, static_cast<int>(panel_size) / chunks / (count * columns * targets)};
    const auto sinks = sinks_of(row);
    kernel_for(targets, columns / unit, count)(depth, p.operand.data + row * p.operand.stride + k, p.operand.stride, panel, panel_size, sinks.data(), next);
    row += count;
  }
}

inline constexpr int narrow_depth = 1024;

// A piece of a narrow panel meets all rows before the next one, so that it stays in the second-level cache.
inline void multiply_panel(const Product& p, const float* panel, size_t panel_size, int shift) {
  const int targets = static_cast<int>(p.group.targets.size()), width = panel_columns(targets), depth = p.group.depth;
  if constexpr (!narrow)
    return in_chunks(p, targets, 0, depth, panel, panel_size, std::min(width, p.columns - shift), [&](int row) { return sinks_at(p, row, shift); });
  const int pieces = (depth + narrow_depth - 1) / narrow_depth;
  for (int g = 0; g < targets; ++g)
    for (int column = shift; column < shift + width; column += unit)
      for (int i = 0; i < pieces; ++i) {
        const int k = depth * i / pieces, count = depth * (i + 1) / pieces - k;
        if (column < p.columns) in_chunks(p, 1, k, count, panel, static_cast<size_t>(count) * unit, unit, [&](int row) {
          Sink sink = sink_at(p, g, row, column);
          if (i > 0) sink.from = sink.to, sink.from_stride = sink.to_stride;
          return std::array{sink};
        });
        panel += static_cast<size_t>(count) * unit;
      }
}

inline void multiply(const Product& p) {
  const int targets = static_cast<int>(p.group.targets.size()), width = panel_columns(targets), depth = p.group.depth;
  const size_t panel_size = panel_floats(p.group);
  const int together = panels_at_once(targets) * width;
  const Kernel wide = p.rows <= 2 ? wide_kernel_for(targets, p.rows) : nullptr;
  for (int shift = 0; shift < p.columns;) {
    const float* panel = p.packed + (p.column + shift) / width * panel_size;
    if (wide && shift + together <= p.columns) {
      wide(depth, p.operand.data, p.operand.stride, panel, panel_size, sinks_at(p, 0, shift).data(), {});
      shift += together;
      continue;
    }
    multiply_panel(p, panel, panel_size, shift);
    shift += width;
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
