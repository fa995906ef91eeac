// Additive attention: how well each key of a sequence answers each query, v . tanh(q + k), and the way back.
//
// The sums q + k of all pairs, which outgrow every cache, are never stored: the way back makes them once more. The sum of
// a pair and the gradients of a sequence run in one order, whatever else is in the batch and however many threads there are.
#pragma once

#include <algorithm>

#include "arena.h"
#include "call.h"
#include "flush.h"
#include "threads.h"
#include "vector_math.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// Calls f(place, n) for vectors that cover `width` components; the last one may be in part.
template <class F>
inline void each_vector(int64_t width, F f) {
  for (int64_t i = 0; i < width; i += Vec::lanes) f(i, static_cast<int>(std::min<int64_t>(Vec::lanes, width - i)));
}

inline float answer(const float* q, const float* k, const float* v, int64_t width) {
  Vec sum = Vec::all(0.0f);
  each_vector(width, [&](int64_t i, int n) { sum = fma(tangent(Vec::load(q + i, n) + Vec::load(k + i, n)), Vec::load(v + i, n), sum); });
  alignas(64) float lanes[Vec::lanes];
  sum.store(lanes);
  float total = 0.0f;
  for (const float x : lanes) total += x;
  return total;
}

// Adds the derivatives of a pair whose score has derivative d.
inline void answer_back(float d, const float* q, const float* k, const float* v, int64_t width, float* dq, float* dk, float* dv) {
  const Vec one = Vec::all(1.0f), given = Vec::all(d);
  each_vector(width, [&](int64_t i, int n) {
    const Vec y = tangent(Vec::load(q + i, n) + Vec::load(k + i, n));
    const Vec inner = given * Vec::load(v + i, n) * fnma(y, y, one);
    (Vec::load(dq + i, n) + inner).store(dq + i, n);
    (Vec::load(dk + i, n) + inner).store(dk + i, n);
    fma(given, y, Vec::load(dv + i, n)).store(dv + i, n);
  });
}

inline void compare(const Comparison& c, float* scores, int threads) {
  run_on_team(threads, [&](int index, int used, Barrier&) {
    const FlushToZero flush;
    for (int64_t b = index; b < c.sequences; b += used)
      for (int64_t t = 0; t < c.queries; ++t) {
        float* row = scores + (b * c.queries + t) * c.keys;
        for (int64_t s = 0; s < c.counts[b]; ++s) row[s] = answer(c.query(b, t), c.key(b, s), c.v, c.width);
        std::fill(row + c.counts[b], row + c.keys, 0.0f);
      }
  });
}

// A pair whose score has no derivative is passed over: padding, and what nobody asked about.
inline void compare_back(const Comparison& c, const float* d_scores, float* dq, float* dk, float* dv, int threads) {
  const Block block(take(c.sequences * c.width * sizeof(float)));
  float* const parts = static_cast<float*>(block.get());  // dv of each sequence
  run_on_team(threads, [&](int index, int used, Barrier&) {
    const FlushToZero flush;
    for (int64_t b = index; b < c.sequences; b += used) {
      float* const part = parts + b * c.width;
      std::fill_n(part, c.width, 0.0f);
      std::fill_n(dq + b * c.queries * c.width, c.queries * c.width, 0.0f);
      std::fill_n(dk + b * c.keys * c.width, c.keys * c.width, 0.0f);
      for (int64_t t = 0; t < c.queries; ++t)
        for (int64_t s = 0; s < c.counts[b]; ++s)
          if (const float d = d_scores[(b * c.queries + t) * c.keys + s]; d != 0.0f)
            answer_back(d, c.query(b, t), c.key(b, s), c.v, c.width, dq + (b * c.queries + t) * c.width, dk + (b * c.keys + s) * c.width, part);
    }
  });
  std::fill_n(dv, c.width, 0.0f);
  for (int64_t b = 0; b < c.sequences; ++b)
    for (int64_t i = 0; i < c.width; ++i) dv[i] += parts[b * c.width + i];
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
