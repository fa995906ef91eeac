// A stack of cells between tokens and logits that reads and writes token by token. Weights are packed once; the loop over
// steps, the layers, the head and the choice of the next token run without leaving the engine.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "arena.h"
#include "plan.h"

namespace elman {

// In what form weights are read; sums, states and everything pointwise are float32.
enum class Precision : int32_t { float32 = 0, bfloat16 = 1, int8 = 2 };

// A panel holds 32 columns of a matrix:
//   float32   for each term 32 floats
//   bfloat16  for each term 16 pairs: column j in the low half, column 16 + j in the high half
//   int8      for each four terms two vectors of 16 columns x 4 terms; before them 32 scales and 32 sums of the column
inline constexpr int panel_width = 32;
inline constexpr size_t int8_header = 2 * panel_width * sizeof(float);
inline constexpr int most_int8_terms = 65536;  // sums of more terms could leave an int32

size_t panel_bytes(Precision precision, int depth);

struct StepProduct {
  Operand target, start;
  const std::byte* panels = nullptr;
};

// Products of one operand, side by side.
struct StepGroup {
  Operand operand;
  int depth = 0;
  Precision precision = Precision::float32;
  std::vector<StepProduct> products;
};

struct StepPass {
  const Pass* pass = nullptr;
  std::vector<StepGroup> groups;
};

struct StepLayer {
  Plan plan;
  bool residual = false;            // the output is the layer's own plus its input
  std::vector<StepPass> bulk, step; // what depends on the input alone, and the rest
  std::vector<float> vector_store;
  std::vector<const float*> vectors;
  std::vector<int> kept;            // slots that `bulk` makes and `step` reads
  size_t kept_floats = 0;
  bool starts_at_states = false;    // the first pass of `step` has nothing to wait for but the states before
};

// What the first layer makes of a token before the loop depends on the token alone: rows of a table, filled as tokens
// appear, up to a limit.
class TokenTable {
 public:
  TokenTable(int64_t vocabulary, size_t row_floats, size_t most_bytes);
  ~TokenTable();
  TokenTable(const TokenTable&) = delete;
  TokenTable& operator=(const TokenTable&) = delete;

  const float* row(int64_t token) const { return rows_[token].load(std::memory_order_acquire); }
  // A row to fill, or null where there is no room; `keep` makes it the token's, unless another thread was first.
  std::unique_ptr<float[]> fresh();
  void keep(int64_t token, std::unique_ptr<float[]> row);
  size_t bytes() const { return bytes_.load(); }

 private:
  std::vector<std::atomic<float*>> rows_;
  const size_t row_floats_, most_bytes_;
  std::atomic<size_t> bytes_{0};
};

struct StepModel {
  Precision precision = Precision::float32;
  int64_t vocabulary = 0;
  int embedding_size = 0;              // 0: one-hot
  std::vector<float> embedding;        // (V, I)
  std::vector<StepLayer> layers;
  StepGroup head;                      // its one product; operand and target are not used
  std::vector<float> head_bias;
  std::vector<Block> blocks;           // that panels lie in
  std::unique_ptr<TokenTable> table;
  size_t weight_bytes = 0;             // of all panels
  int64_t work = 0;                    // multiply-adds of a step of one stream

  int input_size() const { return embedding_size ? embedding_size : static_cast<int>(vocabulary); }
  int output_size() const { return layers.back().plan.output_size; }
};

struct LayerSource {
  Plan plan;
  std::vector<const float*> parameters;
  bool residual = false;
};

// Build a model; every array is copied. `bias` may be null, `embedding` is null for one-hot input.
std::unique_ptr<StepModel> make_step_model(Precision precision, int64_t vocabulary, int embedding_size, const float* embedding,
                                           std::vector<LayerSource> layers, const float* head, const float* bias, size_t table_bytes);

// How the next token is chosen: see elman/sampling.py.
struct Choosing {
  double temperature = 1.0;
  int64_t top_k = 0;    // 0: all
  double top_p = 0.0;   // 0: all
  bool greedy = false;
  int64_t never = -1;   // a token that is not written; -1: none
};

// Uniform numbers of a stream: the sequence of torch.rand in float64 after manual_seed.
class Draws {
 public:
  explicit Draws(const std::vector<uint64_t>& seeds);
  double next(size_t stream);
  size_t streams() const { return twisters_.size(); }

 private:
  std::vector<std::mt19937> twisters_;
};

// One call: streams read tokens of their own, or write some.
struct StepCall {
  int streams = 0, steps = 0;
  std::vector<int> order;                    // position -> stream, by falling length
  std::vector<int> length;                   // by position
  const int64_t* tokens = nullptr;           // read: (B, T)
  const int64_t* wanted = nullptr;           // read: (B, T) tokens whose probabilities are asked for, or null; -1: none
  double* log_probabilities = nullptr;       // read: (B, T)
  int64_t* written = nullptr;                // write: (B, T)
  Choosing choosing;
  Draws* draws = nullptr;
  std::vector<std::vector<float*>> states;   // by layer and state, (B, S); read at the start and written at the end
  float* logits = nullptr;                   // (B, V) after each stream's last step; read too where a call writes
  std::atomic<int> diverged{-1};             // a stream whose logits are not numbers
};

using RunSteps = void (*)(const StepModel&, StepCall&, int threads);
RunSteps find_steps(const std::string& target);  // nullptr where this processor does not run it
void scalar_steps(const StepModel&, StepCall&, int threads);
void avx2_steps(const StepModel&, StepCall&, int threads);
void avx512_steps(const StepModel&, StepCall&, int threads);
void neon_steps(const StepModel&, StepCall&, int threads);

}  // namespace elman
