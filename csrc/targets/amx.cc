// Products of bfloat16 on the tiles of AMX; all else is that of AVX-512.
//
// A tile holds 16 rows of 64 bytes. One instruction adds to 16 x 16 floats the products of 16 rows of 32 numbers with 32
// rows of 16, which lie two by two: row k of the tile is (w[2k][0], w[2k+1][0], w[2k][1], ...). Four sums of 16 x 16, two
// tiles of operand rows and two of weights fill the eight tiles there are.
#define ELMAN_AVX512 1
#define ELMAN_TARGET_NAMESPACE amx
#include "../pairs.h"
#include "../tiles.h"

namespace elman::amx {
namespace {

using namespace pairs;

thread_local int configured = 0;  // 0: the tiles are released

// Tiles 0, 1 and 4 get `first` rows, tiles 2, 3 and 5 `second` rows; 6 and 7, the weights, 16.
void configure(int first, int second) {
  const int wanted = first * 32 + second;
  if (configured == wanted) return;
  tiles::Configuration c;
  const int rows[] = {first, first, second, second, first, second, 16, 16};
  for (int i = 0; i < 8; ++i) c.row_bytes[i] = 64, c.rows[i] = static_cast<uint8_t>(std::max(1, rows[i]));
  tiles::use(c);
  configured = wanted;
}

void enter() {}

void leave() {
  if (configured) tiles::release();
  configured = 0;
}

// One or two tiles of rows times 32 columns.
template <int Halves>
inline void multiply_block(int steps, Left a, const char* b, const Sink& sink) {
  const size_t from = sink.from_stride * sizeof(float), to = sink.to_stride * sizeof(float);
  if (sink.from) {
    tiles::load<0>(sink.from, from), tiles::load<1>(sink.from + 16, from);
    if constexpr (Halves == 2) tiles::load<2>(sink.from + 16 * sink.from_stride, from), tiles::load<3>(sink.from + 16 * sink.from_stride + 16, from);
  } else {
    tiles::zero<0>(), tiles::zero<1>();
    if constexpr (Halves == 2) tiles::zero<2>(), tiles::zero<3>();
  }
  for (; steps > 0; --steps, a.data += a.step, b += step_bytes) {
    tiles::load<6>(b, 64), tiles::load<4>(a.data, a.row);
    tiles::multiply<0, 4, 6>();
    tiles::load<7>(b + block_bytes, 64);
    tiles::multiply<1, 4, 7>();
    if constexpr (Halves == 2) {
      tiles::load<5>(a.data + 16 * a.row, a.row);
      tiles::multiply<2, 5, 6>(), tiles::multiply<3, 5, 7>();
    }
  }
  tiles::store<0>(sink.to, to), tiles::store<1>(sink.to + 16, to);
  if constexpr (Halves == 2) tiles::store<2>(sink.to + 16 * sink.to_stride, to), tiles::store<3>(sink.to + 16 * sink.to_stride + 16, to);
}

void multiply(const Product& p) {
  const int targets = static_cast<int>(p.group.targets.size()), steps = steps_of(p.group.depth);
  const int first = std::min(p.rows, 16), second = p.rows - first;
  configure(first, second);
  const size_t row = p.operand.stride * sizeof(float);
  const Left a{reinterpret_cast<const char*>(p.operand.data), row, 64};
  const char* b = reinterpret_cast<const char*>(p.packed) + static_cast<size_t>(p.column / column_granule) * targets * steps * step_bytes;
  for (int shift = 0; shift < p.columns; shift += column_granule)
    for (int g = 0; g < targets; ++g, b += static_cast<size_t>(steps) * step_bytes) {
      const Sink sink = sink_at(p, g, 0, shift);
      second ? multiply_block<2>(steps, a, b, sink) : multiply_block<1>(steps, a, b, sink);
    }
}

struct Tiles {
  static void prepare() { configure(16, 16); }
  static void block(int steps, const Left& a, const char* b, const Sink& sink) { multiply_block<2>(steps, a, b, sink); }
};

constexpr Products products = {column_granule, pairs::packed_floats, pairs::pack, multiply, pairs::rounded_floats, pairs::round, pairs::gradient_floats, pairs::accumulate<Tiles>, enter, leave};

}  // namespace
}  // namespace elman::amx

namespace elman {
const Target amx_target = {"amx", avx512_target.loops, avx512_target.float32, amx::products};
}
