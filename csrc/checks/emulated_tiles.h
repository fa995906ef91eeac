// The tiles of AMX in plain C++, for processors without them and for sanitizers, which do not see what its instructions
// read and write. What the processor refuses ends the programme.
//
// Source: Intel, Architecture Instruction Set Extensions Programming Reference, chapter 3 (LDTILECFG, TILELOADD, TDPBF16PS).
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace elman::tiles {

struct Tile {
  unsigned char row[16][64];
};

struct Unit {
  Configuration shape;
  Tile tiles[8];
  bool on = false;
};

inline Unit& unit() {
  static thread_local Unit one;
  return one;
}

inline void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "emulated tiles: must hold: %s\n", what);
  std::abort();
}

inline void use(const Configuration& c) {
  demand(c.palette == 1 && c.start == 0, "palette 1 from row 0 on");
  for (int t = 0; t < 8; ++t) demand(c.rows[t] >= 1 && c.rows[t] <= 16 && c.row_bytes[t] >= 1 && c.row_bytes[t] <= 64, "1 to 16 rows of 1 to 64 bytes");
  unit().shape = c, unit().on = true;
  std::memset(unit().tiles, 0, sizeof unit().tiles);
}

inline void release() { unit().on = false; }

template <int T>
inline Tile& configured() {
  demand(unit().on, "tiles are configured before they are used");
  return unit().tiles[T];
}

template <int T>
inline void load(const void* p, size_t stride) {
  Tile& t = configured<T>();
  std::memset(&t, 0, sizeof t);
  for (int r = 0; r < unit().shape.rows[T]; ++r) std::memcpy(t.row[r], static_cast<const char*>(p) + r * stride, unit().shape.row_bytes[T]);
}

template <int T>
inline void store(void* p, size_t stride) {
  const Tile& t = configured<T>();
  for (int r = 0; r < unit().shape.rows[T]; ++r) std::memcpy(static_cast<char*>(p) + r * stride, t.row[r], unit().shape.row_bytes[T]);
}

template <int T>
inline void zero() {
  std::memset(&configured<T>(), 0, sizeof(Tile));
}

// Numbers too small to be normal count as zero, in what is read and in what comes out.
inline float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

inline float number(const unsigned char* bf16) {
  uint32_t bits = 0;
  std::memcpy(reinterpret_cast<char*>(&bits) + 2, bf16, 2);
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return flushed(x);
}

template <int Sum, int A, int B>
inline void multiply() {
  Tile &sum = configured<Sum>(), &a = configured<A>(), &b = configured<B>();
  const Configuration& shape = unit().shape;
  const int pairs = shape.row_bytes[A] / 4, columns = shape.row_bytes[Sum] / 4;
  demand(shape.rows[Sum] == shape.rows[A] && shape.row_bytes[Sum] == shape.row_bytes[B] && shape.rows[B] == pairs, "rows and columns of the three tiles agree");
  for (int m = 0; m < shape.rows[Sum]; ++m) {
    float even[16] = {}, odd[16] = {}, sums[16];
    for (int k = 0; k < pairs; ++k)
      for (int n = 0; n < columns; ++n) {
        even[n] = flushed(std::fma(number(a.row[m] + 4 * k), number(b.row[k] + 4 * n), even[n]));
        odd[n] = flushed(std::fma(number(a.row[m] + 4 * k + 2), number(b.row[k] + 4 * n + 2), odd[n]));
      }
    std::memcpy(sums, sum.row[m], sizeof sums);
    for (int n = 0; n < columns; ++n) sums[n] = flushed(flushed(sums[n]) + flushed(even[n] + odd[n]));
    std::memcpy(sum.row[m], sums, sizeof(float) * columns);
  }
}

}  // namespace elman::tiles
