// Masks of dropout: torch's uniform numbers of a seed, which are those of a Mersenne twister (MT19937), below a bound.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace elman::ELMAN_TARGET_NAMESPACE {

// Plain arithmetic over whole blocks of states, which the compiler puts on vectors.
class Twister {
 public:
  static constexpr int size = 624;

  explicit Twister(uint32_t seed) {
    state_[0] = seed;
    for (int i = 1; i < size; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }

  // The next `size` numbers.
  void next(uint32_t* out) {
    for (int i = 0; i < size - shift; ++i) state_[i] = state_[i + shift] ^ twisted(state_[i], state_[i + 1]);
    for (int i = size - shift; i < size - 1; ++i) state_[i] = state_[i + shift - size] ^ twisted(state_[i], state_[i + 1]);
    state_[size - 1] = state_[shift - 1] ^ twisted(state_[size - 1], state_[0]);
    for (int i = 0; i < size; ++i) out[i] = tempered(state_[i]);
  }

 private:
  static constexpr int shift = 397;

  static uint32_t twisted(uint32_t a, uint32_t b) { return ((a & 0x80000000u) | (b & 0x7fffffffu)) >> 1 ^ (-(b & 1u) & 0x9908b0dfu); }
  static uint32_t tempered(uint32_t x) {
    x ^= x >> 11;
    x ^= x << 7 & 0x9d2c5680u;
    x ^= x << 15 & 0xefc60000u;
    return x ^ x >> 18;
  }

  uint32_t state_[size];
};

// out = value where the uniform number is less than `keep`, else 0. A uniform float is 24 bits by 2^-24.
inline void mask(uint32_t seed, float keep, float value, float* out, size_t n) {
  const double scaled = static_cast<double>(keep) * 0x1p24;
  auto bound = static_cast<int32_t>(scaled);
  if (bound < scaled) ++bound;
  Twister twister(seed);
  uint32_t numbers[Twister::size];
  for (size_t at = 0; at < n; at += Twister::size) {
    twister.next(numbers);
    const size_t count = std::min<size_t>(Twister::size, n - at);
    for (size_t i = 0; i < count; ++i) out[at + i] = static_cast<int32_t>(numbers[i] & 0xffffffu) < bound ? value : 0.0f;
  }
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
