// Functions of the equations on vectors. NaN in gives NaN out; infinities saturate. Error bounds in units in the last
// place (ulp) over all floats, as tests/engines/cpu/test_vector_math.py measures them, are said at each.
#pragma once

#include "simd.h"

namespace elman::ELMAN_TARGET_NAMESPACE {

// exp: 2 ulp. x = n log 2 + r with |r| <= log(2) / 2; the polynomial is the Taylor series of degree 7, whose remainder
// on that interval is below 4e-9; log 2 in two parts keeps r exact (Cody and Waite).
[[gnu::always_inline]] inline Vec exponential(Vec x) {
  // Beyond these the result is infinity or below the normal numbers, and the integers below would not hold n.
  const Vec clipped = within(x, -104.0f, 89.0f);
  const Vec n = nearest(clipped * Vec::all(1.44269504088896341f));
  Vec r = fnma(n, Vec::all(0.693145751953125f), clipped);
  r = fnma(n, Vec::all(1.42860682030941723e-6f), r);
  Vec p = Vec::all(1.0f / 5040.0f);
  p = fma(p, r, Vec::all(1.0f / 720.0f));
  p = fma(p, r, Vec::all(1.0f / 120.0f));
  p = fma(p, r, Vec::all(1.0f / 24.0f));
  p = fma(p, r, Vec::all(1.0f / 6.0f));
  p = fma(p, r, Vec::all(0.5f));
  p = fma(p, r * r, r) + Vec::all(1.0f);
  return times_power_of_two(p, n);
}

// sigmoid: 3 ulp where the result is a normal number.
inline Vec sigmoid(Vec x) {
  const Vec one = Vec::all(1.0f);
  return one / (one + exponential(-x));
}

// tanh: 3 ulp. Near 0, where 1 - 2 / (exp(2 x) + 1) cancels, an odd polynomial: Taylor's series to x^13, whose next
// term is below 1e-7 of x for |x| <= 0.5 (0.0015 x^14).
inline Vec tangent(Vec x) {
  const Vec magnitude = absolute(x);
  const Vec far = Vec::all(1.0f) - Vec::all(2.0f) / (exponential(magnitude + magnitude) + Vec::all(1.0f));
  const Vec s = x * x;
  Vec p = Vec::all(21844.0f / 6081075.0f);
  p = fma(p, s, Vec::all(-1382.0f / 155925.0f));
  p = fma(p, s, Vec::all(62.0f / 2835.0f));
  p = fma(p, s, Vec::all(-17.0f / 315.0f));
  p = fma(p, s, Vec::all(2.0f / 15.0f));
  p = fma(p, s, Vec::all(-1.0f / 3.0f));
  const Vec near = fma(p * s, x, x);
  return choose(less(magnitude, Vec::all(0.5f)), near, with_sign_of(far, x));
}

inline Vec softplus(Vec x) {
  return each(x, [](float v) { return std::isnan(v) ? v : std::fmax(v, 0.0f) + std::log1p(std::exp(-std::fabs(v))); });
}
inline Vec logarithm(Vec x) { return each(x, [](float v) { return std::log(v); }); }
inline Vec sine(Vec x) { return each(x, [](float v) { return std::sin(v); }); }
inline Vec cosine(Vec x) { return each(x, [](float v) { return std::cos(v); }); }
inline Vec error_function(Vec x) { return each(x, [](float v) { return std::erf(v); }); }
inline Vec elu(Vec x) { return each(x, [](float v) { return v > 0.0f ? v : std::expm1(v); }); }
inline Vec gelu(Vec x) { return each(x, [](float v) { return 0.5f * v * std::erfc(-0.70710678118654752f * v); }); }
inline Vec sign(Vec x) {
  const Vec zero = Vec::all(0.0f);
  return choose(less(zero, x), Vec::all(1.0f), choose(less(x, zero), Vec::all(-1.0f), x));
}

}  // namespace elman::ELMAN_TARGET_NAMESPACE
