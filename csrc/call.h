// One call of the engine: a plan, the caller's arrays, and what one target offers to run it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "products.h"

namespace elman {

struct Mask {
  const float* data = nullptr;
  int64_t steps = 1;  // 1: the same at every step
};

// Shape of a batch: sequences by falling length, so that those that still run at a step are the first ones.
struct Batch {
  int sequences = 0, steps = 0;
  std::vector<int> order;        // position -> the caller's sequence
  std::vector<int> length;       // by position
  std::vector<int> live;         // (steps + 1) sequences that reach a step
  std::vector<int64_t> offset;   // (steps + 1) first row of a step
  std::vector<int32_t> step_of;  // row -> step
  bool reverse = false;
  bool packed = false;  // the caller's rows lie step by step, in this order of sequences

  int64_t rows() const { return offset.back(); }
};

Batch make_batch(int sequences, int steps, const int64_t* lengths, bool reverse);

// A batch from how many sequences reach each step, as torch's PackedSequence says it.
Batch make_packed_batch(int steps, const int64_t* sizes, bool reverse);

// Where the rows of a caller's array lie: floats from one sequence to the next and from one step to the next. Packed rows
// follow one another `step` floats apart.
struct Layout {
  int64_t sequence = 0, step = 0;
  bool packed = false;

  int64_t place(const Batch& batch, int b, int64_t time) const {
    return packed ? (batch.offset[time] + b) * step : batch.order[b] * sequence + time * step;
  }
};

struct Arrays {
  std::vector<const float*> parameters;
  const float* x = nullptr;
  Layout x_layout;
  std::vector<const float*> start;   // (B, S) by state
  std::vector<Mask> masks;
  float* y = nullptr;
  Layout y_layout;
  std::vector<float*> final;         // (B, S) by state
};

// What the derivatives come from and go to; a null pointer where nothing is wanted.
struct Gradients {
  const float* dy = nullptr;
  Layout dy_layout;
  std::vector<const float*> d_final;
  float* dx = nullptr;
  Layout dx_layout;
  bool add_dx = false;  // to what dx holds already
  std::vector<float*> d_parameters;  // zero at the start
  std::vector<float*> d_start;
};

// The first floats of a workspace belong to the engine: workspace[0] is 1 where it holds no values
// for the way back: a way back has used them up, or a call has failed.
inline constexpr size_t workspace_header = 16;

// Floats of the workspace that a call needs. `keep`: for all rows, as a backward run needs them.
size_t workspace_floats(const Plan& plan, const Products& products, const Batch& batch, bool keep);

// Floats of the packed weights of a programme: one group after the other, in the order of its passes.
size_t packed_floats(const Products& products, const Programme& programme);

// What additive attention compares: queries (B, T, A) with the first keys of their sequence (B, S, A), by v (A,).
struct Comparison {
  int64_t sequences, queries, keys, width;
  const float *q, *k, *v;
  const int64_t* counts;  // (B,) keys of a sequence

  const float* query(int64_t b, int64_t t) const { return q + (b * queries + t) * width; }
  const float* key(int64_t b, int64_t s) const { return k + (b * keys + s) * width; }
};

// The loops over rows, columns and time, compiled for an instruction set.
struct Loops {
  void (*pack)(const Plan&, const Products&, const Programme&, const std::vector<const float*>& parameters, float* out, int threads);
  void (*forward)(const Plan&, const Products&, const Batch&, const Arrays&, const float* packed, float* workspace, bool keep, int threads);
  void (*backward)(const Plan&, const Products&, const Batch&, const Arrays&, const Gradients&, const float* packed, float* workspace, int threads);
  void (*compare)(const Comparison&, float* scores, int threads);  // scores (B, T, S), zero beyond the keys of a sequence
  void (*compare_back)(const Comparison&, const float* d_scores, float* dq, float* dk, float* dv, int threads);
  void (*mask)(uint32_t seed, float keep, float value, float* out, size_t n);  // `value` with probability `keep`, else 0
  uint64_t (*checksum)(const float* values, size_t n);
  void (*function)(Opcode, const float* a, const float* b, const float* c, float* out, size_t n);  // for tests
};

struct Target {
  const char* name;
  const Loops& loops;
  const Products &float32, &bf16;
};

extern const Target scalar_target, avx2_target, avx512_target, avx512_bf16_target, amx_target, neon_target;

}  // namespace elman
