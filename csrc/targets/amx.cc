// Products of bfloat16 on the tiles of AMX; all else is that of AVX-512.
//
// A tile holds 16 rows of 64 bytes. One instruction adds to 16 x 16 floats the products of 16 rows of 32 numbers with 32
// rows of 16, which lie two by two: row k of the tile is (w[2k][0], w[2k+1][0], w[2k][1], ...). Four sums of 16 x 16, two
// tiles of operand rows and two of weights fill the eight tiles there are.
#define ELMAN_AVX512 1
#define ELMAN_TARGET_NAMESPACE amx
#include "../gradient.h"

namespace elman::amx {
namespace {

constexpr int depth_of_tile = 32, tile_bytes = 1024, pair_bytes = 2 * tile_bytes;

inline int steps_of(int depth) { return (depth + depth_of_tile - 1) / depth_of_tile; }

// Instructions spelled out, each with a memory clobber: the intrinsics of gcc 12 lack it, and stores move past them.
template <int T>
inline void load_tile(const void* p, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T>
inline void store_tile(void* p, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int Sum, int A, int B>
inline void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(A), "i"(B));
}

struct alignas(64) Configuration {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

thread_local int configured = 0;  // 0: the tiles are released

// Tiles 0, 1 and 4 get `first` rows, tiles 2, 3 and 5 `second` rows; 6 and 7, the weights, 16.
void configure(int first, int second) {
  const int wanted = first * 32 + second;
  if (configured == wanted) return;
  Configuration c;
  const int rows[] = {first, first, second, second, first, second, 16, 16};
  for (int i = 0; i < 8; ++i) c.row_bytes[i] = 64, c.rows[i] = static_cast<uint8_t>(std::max(1, rows[i]));
  asm volatile("ldtilecfg %0" ::"m"(c) : "memory");
  configured = wanted;
}

void enter() {}

void leave() {
  if (configured) asm volatile("tilerelease" ::: "memory");
  configured = 0;
}

// Where operand rows lie, in bytes: between rows, between the two tiles, between steps of the depth.
struct Left {
  const char* data;
  size_t row, half, step;
};

// One or two tiles of rows times 32 columns.
template <int Halves>
inline void block(int steps, Left a, const char* b, const Sink& sink) {
  const size_t from = sink.from_stride * sizeof(float), to = sink.to_stride * sizeof(float);
  if (sink.from) {
    load_tile<0>(sink.from, from), load_tile<1>(sink.from + 16, from);
    if constexpr (Halves == 2) load_tile<2>(sink.from + 16 * sink.from_stride, from), load_tile<3>(sink.from + 16 * sink.from_stride + 16, from);
  } else {
    zero_tile<0>(), zero_tile<1>();
    if constexpr (Halves == 2) zero_tile<2>(), zero_tile<3>();
  }
  for (; steps > 0; --steps, a.data += a.step, b += pair_bytes) {
    load_tile<6>(b, 64), load_tile<4>(a.data, a.row);
    multiply_tiles<0, 4, 6>();
    load_tile<7>(b + tile_bytes, 64);
    multiply_tiles<1, 4, 7>();
    if constexpr (Halves == 2) {
      load_tile<5>(a.data + a.half, a.row);
      multiply_tiles<2, 5, 6>(), multiply_tiles<3, 5, 7>();
    }
  }
  store_tile<0>(sink.to, to), store_tile<1>(sink.to + 16, to);
  if constexpr (Halves == 2) store_tile<2>(sink.to + 16 * sink.to_stride, to), store_tile<3>(sink.to + 16 * sink.to_stride + 16, to);
}

void multiply(const Product& p) {
  const int targets = static_cast<int>(p.group.targets.size()), steps = steps_of(p.group.depth);
  const int first = std::min(p.rows, 16), second = p.rows - first;
  configure(first, second);
  const size_t row = p.operand.stride * sizeof(float);
  const Left a{reinterpret_cast<const char*>(p.operand.data), row, 16 * row, 64};
  const char* b = reinterpret_cast<const char*>(p.packed) + static_cast<size_t>(p.column / column_granule) * targets * steps * pair_bytes;
  for (int shift = 0; shift < p.columns; shift += column_granule)
    for (int g = 0; g < targets; ++g, b += static_cast<size_t>(steps) * pair_bytes) {
      const Sink sink{p.to[g].data + shift, p.to[g].stride, p.from[g].data ? p.from[g].data + shift : nullptr, p.from[g].stride};
      second ? block<2>(steps, a, b, sink) : block<1>(steps, a, b, sink);
    }
}

// 32 numbers of bfloat16 from floats, zero beyond `real`.
inline __m512i halves(const float* p, int real) {
  const uint32_t mask = real >= 32 ? ~0u : (1u << std::max(real, 0)) - 1u;
  return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(mask >> 16, p + 16), _mm512_maskz_loadu_ps(mask & 0xffff, p));
}

int rounded_floats(int width) { return padded(width) / 2; }

void round(View from, View to, int rows, int column, int columns, int width) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < columns; j += 32)
      _mm512_storeu_si512(to.data + r * to.stride + (column + j) / 2, halves(from.data + r * from.stride + j, width - column - j));
}

// (even[n], odd[n]) for n below 16, and from 16 on.
inline void interleave(__m512i even, __m512i odd, __m512i& low, __m512i& high) {
  const __m512i pairs = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  low = _mm512_permutex2var_epi16(even, pairs, odd);
  high = _mm512_permutex2var_epi16(even, _mm512_add_epi16(pairs, _mm512_set1_epi16(16)), odd);
}

// 16 x 16 numbers of 32 bits, in place.
inline void transpose(__m512i* z) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(z[i], z[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(z[i], z[i + 1]);
  for (int i = 0; i < 16; i += 4) {
    z[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), z[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    z[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), z[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // z[4 q + j] has, in lane l, column 4 l + j of rows 4 q to 4 q + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(z[j], z[4 + j], 0x88), b = _mm512_shuffle_i32x4(z[j], z[4 + j], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(z[8 + j], z[12 + j], 0x88), d = _mm512_shuffle_i32x4(z[8 + j], z[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88), t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88), t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  std::copy_n(t, 16, z);
}

size_t packed_floats(const Group& group) { return group.targets.size() * steps_of(group.depth) * pair_bytes / sizeof(float); }

void pack(const Group& group, int width, int column, const float* const* parameters, const int* strides, float* out) {
  auto* to = reinterpret_cast<__m512i*>(out);
  for (const Factor& f : group.factors) {
    const size_t stride = strides[f.parameter];
    const float* w = parameters[f.parameter] + f.first_column;
    for (int k = 0; k < group.depth; k += depth_of_tile, to += 32)
      for (int i = 0; i < 16; ++i) {
        if (f.transposed) {  // target column j takes w[k][j]
          const int even = k + 2 * i;
          const auto row = [&](int n) { return n < group.depth ? halves(w + n * stride + column, width - column) : _mm512_setzero_si512(); };
          interleave(row(even), row(even + 1), to[i], to[16 + i]);
        } else {  // target column j takes w[j][k]
          const auto row = [&](int j) { return j < width ? halves(w + j * stride + k, group.depth - k) : _mm512_setzero_si512(); };
          to[i] = row(column + i), to[16 + i] = row(column + 16 + i);
        }
      }
    if (!f.transposed)
      for (__m512i* tile = to - 32 * steps_of(group.depth); tile < to; tile += 16) transpose(tile);
  }
}

constexpr int most_rows_packed = 1024;  // of factors of gradients

size_t gradient_floats(const Plan& plan, int) {
  size_t columns = 0;
  for (const Accumulation& acc : plan.accumulations) columns += padded(acc.left_width) + padded(acc.right_width);
  return columns * most_rows_packed / 2;
}

// 32 columns of a factor, rows from `row` on, two by two; `left`: turned, so that they are rows of 32 steps of the depth.
void pack_factor(const float* row, size_t stride, int depth, bool left, char* out) {
  auto* to = reinterpret_cast<__m512i*>(out);
  for (int k = 0; k < depth; k += depth_of_tile, to += 32) {
    for (int i = 0; i < 16; ++i) {
      const auto numbers = [&](int n) { return n < depth ? _mm512_loadu_si512(row + n * stride) : _mm512_setzero_si512(); };
      interleave(numbers(k + 2 * i), numbers(k + 2 * i + 1), to[i], to[16 + i]);
    }
    if (left) transpose(to), transpose(to + 16);
  }
}

void add_matrix(const Bound& bound, const Accumulation& acc, const char* left, const char* right, int steps, int index, int threads) {
  const int blocks = padded(acc.left_width) / 32;
  const size_t stride = bound.plan.parameter_columns[acc.parameter], strip = static_cast<size_t>(steps) * pair_bytes;
  float* out = bound.gradients->d_parameters[acc.parameter] + acc.first_column;
  alignas(64) float edge[32 * block_columns];
  for (int m = blocks * index / threads; m < blocks * (index + 1) / threads; ++m)
    for (int n = 0; n < padded(acc.right_width) / 32; ++n) {
      const int rows = std::min(32, acc.left_width - 32 * m), columns = std::min(32, acc.right_width - 32 * n);
      float* to = out + 32 * m * stride + 32 * n;
      const Left a{left + m * strip, 64, tile_bytes, pair_bytes};
      if (rows == 32 && columns == 32) {
        block<2>(steps, a, right + n * strip, {to, stride, to, stride});
      } else {
        block<2>(steps, a, right + n * strip, {edge, block_columns, nullptr, 0});
        add_block(edge, block_columns, rows, columns, to, stride);
      }
    }
}

void add_rounded_vector(const Bound& bound, const Accumulation& acc, int64_t first, int depth, int index, int threads) {
  const size_t stride = bound.slot_stride_of[acc.left.index];
  const auto* left = reinterpret_cast<const char*>(bound.row(acc.left, first));
  float* out = bound.gradients->d_parameters[acc.parameter];
  for (int j = 16 * index; j < acc.left_width; j += 16 * threads) {
    const int n = std::min(16, acc.left_width - j);
    Vec sum = Vec::all(0.0f);
    for (int k = 0; k < depth; ++k) {
      const __m256i numbers = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(left + k * stride * sizeof(float) + 2 * j));
      sum = sum + Vec{_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(numbers), 16))};
    }
    (Vec::load(out + j, n) + sum).store(out + j, n);
  }
}

// The threads pack every factor once, meet, and multiply.
void accumulate(const Bound& bound, int64_t first, int64_t last, float* room, int index, int threads, Barrier& barrier) {
  for (; first < last; first += most_rows_packed) {
    const int depth = static_cast<int>(std::min<int64_t>(most_rows_packed, last - first)), steps = steps_of(depth);
    const auto place = [&](int column) { return reinterpret_cast<char*>(room) + static_cast<size_t>(column / 32) * steps * pair_bytes; };
    for (const PackedFactor& f : bound.factors)
      for (int j = 0; j < f.width; j += 32)
        if ((f.column + j) / 32 % threads == index)
          pack_factor(bound.row(f.operand, first) + j / 2, bound.slot_stride_of[f.operand.index], depth, f.left, place(f.column + j));
    barrier.wait();
    configure(16, 16);
    for (size_t n = 0; n < bound.plan.accumulations.size(); ++n) {
      const Accumulation& acc = bound.plan.accumulations[n];
      if (!bound.gradients->d_parameters[acc.parameter]) continue;
      if (acc.right.place != Place::none) {
        add_matrix(bound, acc, place(bound.factors[bound.left_factor[n]].column), place(bound.factors[bound.right_factor[n]].column), steps, index, threads);
      } else if (acc.left.place == Place::rounded) {
        add_rounded_vector(bound, acc, first, depth, index, threads);
      } else {
        int from, to;
        share(acc.left_width, index, threads, from, to);
        add_vector(bound, acc, first, depth, from, to);
      }
    }
    if (first + most_rows_packed < last) barrier.wait();  // nobody reads the packed factors any more
  }
}

constexpr Products products = {column_granule, packed_floats, pack, multiply, rounded_floats, round, gradient_floats, accumulate, enter, leave};

}  // namespace
}  // namespace elman::amx

namespace elman {
const Target amx_target = {"amx", avx512_target.loops, avx512_target.float32, amx::products};
}
