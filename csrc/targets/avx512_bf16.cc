// Products of bfloat16 by the instruction of AVX-512-BF16, which adds two products to a float in each of 16 lanes; all else
// is that of AVX-512.
#define ELMAN_AVX512 1
#define ELMAN_TARGET_NAMESPACE avx512_bf16
#include "../pairs.h"

namespace elman::avx512_bf16 {
namespace {

using namespace pairs;

// R rows times `Panels` neighbouring panels of 32 columns.
template <int R, int Panels>
void kernel(int steps, Left a, const char* b, size_t panel_bytes, const Sink* sinks) {
  constexpr int n = 2 * Panels;
  __m512 sum[R][n];
  // What the sums of the next columns start from and end in is often not in the cache.
  for (int p = 0; p < Panels; ++p)
    for (int r = 0; r < R; ++r)
      for (int i = 0; i < column_granule; i += 16) prefetch_next(sinks[p], r, i, column_granule);
#pragma GCC unroll 32
  for (int i = 0; i < n; ++i)
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r)
      sum[r][i] = sinks[i / 2].from ? _mm512_loadu_ps(sinks[i / 2].from + r * sinks[i / 2].from_stride + i % 2 * 16) : _mm512_setzero_ps();
  for (; steps > 0; --steps, a.data += a.step, b += step_bytes)
#pragma GCC unroll 4
    for (int k = 0; k < depth_of_step / 2; ++k) {
      __m512bh w[n];
#pragma GCC unroll 32
      for (int i = 0; i < n; ++i) w[i] = (__m512bh)_mm512_loadu_si512(b + i / 2 * panel_bytes + i % 2 * block_bytes + 64 * k);
#pragma GCC unroll 32
      for (int r = 0; r < R; ++r) {
        int pair;
        std::memcpy(&pair, a.data + r * a.row + 4 * k, sizeof pair);
        const auto x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 32
        for (int i = 0; i < n; ++i) sum[r][i] = _mm512_dpbf16_ps(sum[r][i], x, w[i]);
      }
    }
#pragma GCC unroll 32
  for (int i = 0; i < n; ++i)
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r) _mm512_storeu_ps(sinks[i / 2].to + r * sinks[i / 2].to_stride + i % 2 * 16, sum[r][i]);
}

constexpr int most_rows = 12;  // whose sums stay in registers

using Kernel = void (*)(int, Left, const char*, size_t, const Sink*);

// Few rows take more panels at once: a single one has too few sums to hide the latency of the instruction.
constexpr int panels_at_once(int rows) { return rows <= 2 ? 4 : rows <= 6 ? 2 : 1; }

template <int R>
constexpr Kernel pick(int panels) {
  if constexpr (panels_at_once(R) >= 4)
    if (panels == 4) return kernel<R, 4>;
  if constexpr (panels_at_once(R) >= 2)
    if (panels == 2) return kernel<R, 2>;
  return kernel<R, 1>;
}

Kernel kernel_for(int rows, int panels) {
  static constexpr Kernel (*table[])(int) = {nullptr, pick<1>, pick<2>, pick<3>, pick<4>, pick<5>, pick<6>, pick<7>, pick<8>, pick<9>, pick<10>, pick<11>, pick<12>};
  return table[rows](panels);
}

// All rows of a product times `panels` panels from `b` on, in chunks of rows whose sums stay in registers. `sinks`, of the
// first row, move with the rows: a copy would wait for what has just been written to them.
void in_chunks(int rows, int panels, int steps, const Left& a, const char* b, Sink* sinks) {
  const size_t panel_bytes = static_cast<size_t>(steps) * step_bytes;
  const int chunks = (rows + most_rows - 1) / most_rows;
  for (int i = 0, row = 0; i < chunks; ++i) {
    const int count = (rows - row + chunks - i - 1) / (chunks - i);
    kernel_for(count, panels)(steps, {a.data + row * a.row, a.row, a.step}, b, panel_bytes, sinks);
    row += count;
    for (Sink* sink = sinks; sink < sinks + panels; ++sink) {
      sink->to += count * sink->to_stride;
      if (sink->from) sink->from += count * sink->from_stride;
    }
  }
}

void multiply(const Product& p) {
  const int targets = static_cast<int>(p.group.targets.size()), steps = steps_of(p.group.depth);
  const size_t row = p.operand.stride * sizeof(float), panel_bytes = static_cast<size_t>(steps) * step_bytes;
  const Left a{reinterpret_cast<const char*>(p.operand.data), row, 64};
  const char* b = reinterpret_cast<const char*>(p.packed) + p.column / column_granule * targets * panel_bytes;
  const int all = p.columns / column_granule * targets, at_once = panels_at_once(p.rows);
  for (int panel = 0, g = 0, shift = 0; panel < all;) {
    const int panels = panel + at_once <= all ? at_once : 1;
    Sink sinks[4];
    for (int i = 0; i < panels; ++i) {
      sinks[i] = sink_at(p, g, 0, shift);
      if (++g == targets) g = 0, shift += column_granule;
    }
    in_chunks(p.rows, panels, steps, a, b + panel * panel_bytes, sinks);
    panel += panels;
  }
}

struct Pairs {
  static void prepare() {}
  static void block(int steps, const Left& a, const char* b, Sink sink) { in_chunks(32, 1, steps, a, b, &sink); }
};

constexpr Products products = {column_granule, pairs::packed_floats, pairs::pack, multiply, pairs::rounded_floats, pairs::round, pairs::gradient_floats, pairs::accumulate<Pairs>, nothing, nothing};

}  // namespace
}  // namespace elman::avx512_bf16

namespace elman {
const Target avx512_bf16_target = {"avx512_bf16", avx512_target.loops, avx512_target.float32, avx512_bf16::products};
}
