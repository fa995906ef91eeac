// From logits to the next token: elman/decoding.py, choose, without sorting what is not looked at.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "stepper.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// exp of x <= 0, 2 ulp: x = n log 2 + r, Taylor's series of degree 13, whose remainder is below 1e-17. Plain arithmetic,
// which the compiler puts on vectors.
inline double small_exponential(double x) {
  constexpr double shift = 0x1.8p52;  // added and taken away again it rounds to a whole number
  const double shifted = x * 1.4426950408889634 + shift, n = shifted - shift;
  const double r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  uint64_t bits;  // the low bits of `shifted` are the whole number
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

class Chooser {
 public:
  // Room for a row of logits: what follows allocates nothing.
  void reserve(int64_t count) { values_.reserve(count), ranked_.reserve(count); }

  // The distribution of a row of logits; false where they are no numbers.
  bool read(const float* logits, int64_t count, const Choosing& how) {
    float largest = -INFINITY;
    bool numbers = true;
    for (int64_t i = 0; i < count; ++i) {
      if (logits[i] != logits[i]) numbers = false;
      if (i != how.never && logits[i] > largest) largest = logits[i];
    }
    if (!numbers || !(std::fabs(largest) < INFINITY)) return false;
    values_.resize(count);
    const double temperature = how.temperature, top = static_cast<double>(largest);
    for (int64_t i = 0; i < count; ++i) {
      const double x = (static_cast<double>(logits[i]) - top) / temperature;  // top / temperature may be infinite
      values_[i] = x < -700.0 ? 0.0 : small_exponential(x < -700.0 ? -700.0 : x > 0.0 ? 0.0 : x);
    }
    if (how.never >= 0) values_[how.never] = 0.0;
    total_ = 0.0;
    for (int64_t i = 0; i < count; ++i) total_ += values_[i];
    top_ = top;
    return true;
  }

  double log_probability(float logit) const { return static_cast<double>(logit) - top_ - std::log(total_); }

  // The token in whose share of the cumulated probabilities the uniform number falls, tokens by falling probability.
  int64_t choose(double uniform, const Choosing& how) {
    ranked_.clear();
    for (size_t i = 0; i < values_.size(); ++i)
      if (values_[i] > 0.0) ranked_.push_back(static_cast<int32_t>(i));
    size_t kept = ranked_.size();
    if (how.top_k > 0 && how.top_k < static_cast<int64_t>(kept)) {
      kept = how.top_k;
      std::nth_element(ranked_.begin(), ranked_.begin() + kept, ranked_.end(), [this](int32_t a, int32_t b) { return precedes(a, b); });
    }
    if (how.top_p > 0.0) {
      const double limit = how.top_p * total_;
      kept = crossing(kept, [=](double mass) { return mass >= limit; }) + 1;
    }
    const double target = uniform * (kept == ranked_.size() ? total_ : mass_of(0, kept));
    return ranked_[crossing(kept, [=](double mass) { return mass > target; })];
  }

 private:
  // By falling probability, equal ones by their numbers.
  bool precedes(int32_t a, int32_t b) const { return values_[a] != values_[b] ? values_[a] > values_[b] : a < b; }

  double mass_of(size_t first, size_t last) const {
    double mass = 0.0;
    for (size_t i = first; i < last; ++i) mass += values_[ranked_[i]];
    return mass;
  }

  static constexpr size_t most_counted = 80;

  // The rank below `last` at which the cumulated probability crosses, the last one if it does nowhere; the tokens before
  // it end up before it. As quickselect: only the part where the crossing lies is looked at again.
  template <class Crossed>
  size_t crossing(size_t last, Crossed crossed) {
    const size_t end = last;
    size_t first = 0;
    double before = 0.0;
    while (last - first > most_counted) {
      std::swap(ranked_[first + (last - first) / 2], ranked_[last - 1]);
      const int32_t pivot = ranked_[last - 1];
      const size_t middle = std::partition(ranked_.begin() + first, ranked_.begin() + last - 1, [&](int32_t i) { return precedes(i, pivot); }) - ranked_.begin();
      std::swap(ranked_[middle], ranked_[last - 1]);
      const double mass = before + mass_of(first, middle);
      if (crossed(mass)) last = middle;
      else if (crossed(mass + values_[pivot])) return middle;
      else before = mass + values_[pivot], first = middle + 1;
    }
    order(first, last);
    for (; first < last; ++first)
      if (crossed(before += values_[ranked_[first]])) return first;
    return std::min(first, end - 1);
  }

  // A few tokens by falling probability: each goes where the count of those before it says. Without a branch that depends
  // on a value, and on vectors, this is several times as fast as a sort.
  void order(size_t first, size_t last) {
    const size_t count = last - first;
    double value[most_counted];
    int64_t number[most_counted];
    for (size_t i = 0; i < count; ++i) number[i] = ranked_[first + i], value[i] = values_[ranked_[first + i]];
    for (size_t i = 0; i < count; ++i) {
      const double mine = value[i];
      const int64_t own = number[i];
      int64_t before = 0;
      for (size_t j = 0; j < count; ++j) before += (value[j] > mine) | ((value[j] == mine) & (number[j] < own));
      ranked_[first + before] = static_cast<int32_t>(own);
    }
  }

  std::vector<double> values_;
  std::vector<int32_t> ranked_;
  double total_ = 1.0, top_ = 0.0;
};

inline int64_t greedy(const float* logits, int64_t count, int64_t never) {
  int64_t best = never == 0 ? 1 : 0;
  for (int64_t i = best + 1; i < count; ++i)
    if (i != never && logits[i] > logits[best]) best = i;
  return best;
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
