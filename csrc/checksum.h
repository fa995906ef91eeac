// A number that tells whether values are the ones they were.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "simd.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// Lane by lane h = h * odd + w, so that one changed number always changes it, and several do but for a chance of 2^-32; the
// lanes are then added up by FNV-1a. As fast as memory is read.
inline uint64_t checksum(const float* values, size_t n) {
  constexpr size_t lanes = 64;
  constexpr uint32_t odd = 0x9e3779b1u;
  uint32_t hash[lanes] = {};
  const auto add = [&](const float* from) {
    for (size_t l = 0; l < lanes; ++l) hash[l] = hash[l] * odd + std::bit_cast<uint32_t>(from[l]);
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) add(values + i);
  float last[lanes] = {};
  std::copy_n(values + i, n - i, last);
  add(last);
  uint64_t sum = 0xcbf29ce484222325u ^ n;
  for (const uint32_t h : hash) sum = (sum ^ h) * 0x100000001b3u;
  return sum;
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
