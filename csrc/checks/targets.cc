// Every target of this processor against the definition in simd.h, the C library and the scalar target.
#include <bit>
#include <cmath>
#include <cstdio>
#include <functional>

#include "cases.h"
#include "../dispatch.h"

namespace elman::checks {
namespace {

// Bit patterns of all signs and exponents, ends of them included, and NaN.
Floats floats_of_all_sizes() {
  Floats found;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 9973) found.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (uint32_t exponent = 0; exponent < 512; ++exponent)
    for (const uint32_t near : {0u, 1u, 0x3fffffu, 0x400000u, 0x7fffffu}) found.push_back(std::bit_cast<float>(exponent << 23 | near));
  for (float x = -110.0f; x < 110.0f; x += 0.01f) found.push_back(x);
  return found;
}

// Distance in units of the last place of `wanted`; where that is no normal number, in units of the smallest.
double ulps(float found, double wanted) {
  if (std::isnan(wanted)) return std::isnan(found) ? 0.0 : INFINITY;
  if (static_cast<float>(wanted) == found) return 0.0;
  if (std::isinf(found)) return std::fabs(wanted) >= 0x1.fffffcp127 ? 1.0 : INFINITY;
  return std::fabs(found - wanted) / std::ldexp(1.0, std::max(std::ilogb(wanted), -126) - 23);
}

struct Judged {
  Opcode code;
  const char* name;
  double most_ulps;
  std::function<double(double, double, double)> wanted;
};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// The bounds are those of vector_math.h, for results that are normal numbers; what is one operation is exact.
const std::vector<Judged> judged = {
    {Opcode::exp, "exp", 2.0, [](double x, double, double) { return std::exp(x); }},
    {Opcode::sigmoid, "sigmoid", 4.0, [](double x, double, double) { return sigmoid(x); }},
    {Opcode::tanh, "tanh", 4.0, [](double x, double, double) { return std::tanh(x); }},
    {Opcode::sqrt, "sqrt", 0.5, [](double x, double, double) { return std::sqrt(x); }},
    {Opcode::add, "add", 0.5, [](double x, double y, double) { return x + y; }},
    {Opcode::sub, "sub", 0.5, [](double x, double y, double) { return x - y; }},
    {Opcode::mul, "mul", 0.5, [](double x, double y, double) { return x * y; }},
    {Opcode::div, "div", 0.5, [](double x, double y, double) { return x / y; }},
    {Opcode::softplus, "softplus", 4.0, [](double x, double, double) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))) + (std::isnan(x) ? x : 0.0); }},
};

// Operations whose result is the same bits on every target.
const std::vector<std::pair<Opcode, const char*>> exact = {
    {Opcode::copy, "copy"}, {Opcode::add, "add"}, {Opcode::sub, "sub"}, {Opcode::mul, "mul"}, {Opcode::div, "div"}, {Opcode::neg, "neg"},
    {Opcode::min, "min"}, {Opcode::max, "max"}, {Opcode::relu, "relu"}, {Opcode::sqrt, "sqrt"}, {Opcode::abs, "abs"}, {Opcode::log, "log"},
    {Opcode::sin, "sin"}, {Opcode::cos, "cos"}, {Opcode::elu, "elu"}, {Opcode::gelu, "gelu"}, {Opcode::erf, "erf"}, {Opcode::step, "step"},
    {Opcode::sign, "sign"}, {Opcode::greater, "greater"}, {Opcode::hard_tanh, "hard_tanh"}, {Opcode::hard_sigmoid, "hard_sigmoid"}};

Floats function_of(const Target& target, Opcode code, const Floats& a, const Floats& b, const Floats& c) {
  Floats out(a.size());
  target.loops.function(code, a.data(), b.data(), c.data(), out.data(), a.size());
  return out;
}

bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b)); }

template <class Holds>
void expect_all(const std::string& what, const Floats& x, const Floats& found, Holds holds) {
  for (size_t i = 0; i < x.size(); ++i)
    if (!holds(i)) {
      char line[160];
      std::snprintf(line, sizeof line, "%s of %a gives %a", what.c_str(), static_cast<double>(x[i]), static_cast<double>(found[i]));
      expect(false, line);
      return;
    }
}

void check_functions(const Target& target) {
  const Floats x = floats_of_all_sizes(), z = numbers(x.size(), 5, 3.0f);
  Floats y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[(i * 7919 + 13) % x.size()];
  const std::string name = target.name;
  for (const Judged& j : judged) {
    const Floats found = function_of(target, j.code, x, y, z);
    expect_all(name + " " + j.name, x, found, [&](size_t i) {
      const double wanted = j.wanted(x[i], y[i], z[i]);
      return ulps(found[i], wanted) <= j.most_ulps || (j.most_ulps > 0.5 && std::fabs(wanted) < 0x1p-126 && std::fabs(found[i]) <= 0x1p-126f);
    });
  }
  for (const auto& [code, what] : exact) {
    const Floats found = function_of(target, code, x, y, z), wanted = function_of(scalar_target, code, x, y, z);
    expect_all(name + " " + what + " as scalar", x, found, [&](size_t i) { return same(found[i], wanted[i]); });
  }
  if (name == "scalar") return;
  const Floats added = function_of(target, Opcode::mul_add, x, y, z), taken = function_of(target, Opcode::sub_from, x, y, z);
  expect_all(name + " mul_add", x, added, [&](size_t i) { return same(added[i], std::fma(x[i], y[i], z[i])); });
  expect_all(name + " sub_from", x, taken, [&](size_t i) { return same(taken[i], std::fma(-x[i], y[i], z[i])); });
}

// The largest difference, by the largest value: 1e-5, as tests/engines/cpu judges float32. In bfloat16 a value near the
// middle of two numbers may round either way.
void expect_close(const std::string& what, const Floats& found, const Floats& wanted, double most) {
  double largest = 1.0, difference = 0.0;
  bool numbers = true;
  for (size_t i = 0; i < wanted.size(); ++i) {
    largest = std::fmax(largest, std::fabs(wanted[i]));
    difference = std::fmax(difference, std::fabs(static_cast<double>(found[i]) - wanted[i]));
    numbers = numbers && std::isfinite(found[i]) && std::isfinite(wanted[i]);
  }
  char line[200];
  std::snprintf(line, sizeof line, "%s: %.2g of the largest value away from scalar, at most %.2g", what.c_str(), difference / largest, most);
  expect(numbers && found.size() == wanted.size() && difference <= most * largest, line);
}

void check_case(const Case& c, const std::string& name) {
  const Target& target = *find_target(name);
  if (c.kind == "run") {
    const Floats found = run_case(c, target, 1);
    expect_close(name + " " + c.what(), found, run_case(c, scalar_target, 1), c.bf16 ? 0x1p-8 : 1e-5);
    expect(run_case(c, target, 2) == found, name + " " + c.what() + ": two threads must give the bits of one");
    return;
  }
  for (const Precision precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    const auto model = model_of(c, precision);
    const Floats found = step_case(c, *model, find_steps(name), 1);
    const std::string what = name + " " + c.what() + " at precision " + std::to_string(static_cast<int>(precision));
    expect_close(what, found, step_case(c, *model, &scalar_steps, 1), precision == Precision::int8 ? 1e-4 : 1e-5);
    expect(step_case(c, *model, find_steps(name), 3) == found, what + ": three threads must give the bits of one");
  }
}

// Scores of additive attention and their derivatives, one after the other.
Floats attention_of(const Target& target, int threads) {
  constexpr int64_t sequences = 5, queries = 3, keys = 7, width = 37;
  const Floats q = numbers(sequences * queries * width, 1), k = numbers(sequences * keys * width, 2), v = numbers(width, 3);
  const std::vector<int64_t> counts = {7, 0, 3, 1, 6};
  const Comparison c{sequences, queries, keys, width, q.data(), k.data(), v.data(), counts.data()};
  const Floats d = numbers(sequences * queries * keys, 4);
  Floats found(d.size() + q.size() + k.size() + v.size());
  float *const scores = found.data(), *const dq = scores + d.size(), *const dk = dq + q.size(), *const dv = dk + k.size();
  target.loops.compare(c, scores, threads);
  target.loops.compare_back(c, d.data(), dq, dk, dv, threads);
  return found;
}

void check_attention(const std::string& name) {
  const Target& target = *find_target(name);
  const Floats found = attention_of(target, 1);
  expect_close(name + " attention", found, attention_of(scalar_target, 1), 1e-5);
  expect(attention_of(target, 2) == found, name + " attention: two threads must give the bits of one");
}

// One in `keep` of torch's uniform numbers; the numbers themselves are held to torch's by the tests in Python.
void check_mask(const std::string& name) {
  for (const size_t count : {size_t{1}, size_t{624}, size_t{1301}}) {
    Floats found(count), wanted(count);
    find_target(name)->loops.mask(12345, 0.7f, 2.0f, found.data(), count);
    scalar_target.loops.mask(12345, 0.7f, 2.0f, wanted.data(), count);
    expect(found == wanted, name + " mask: must be that of the scalar target");
  }
}

void check_checksum(const std::string& name) {
  for (const size_t count : {size_t{1}, size_t{63}, size_t{64}, size_t{1301}}) {
    const Floats values = numbers(count, 1);
    expect(find_target(name)->loops.checksum(values.data(), count) == scalar_target.loops.checksum(values.data(), count), name + " checksum: must be that of the scalar target");
  }
}

}  // namespace

void check_targets(const std::vector<Case>& cases) {
  for (const std::string& name : targets_here()) {
    if (name == "amx" || name == "avx512_bf16") continue;  // functions of avx512, and products that the reference judges
    std::printf("target %s\n", name.c_str());
    check_functions(*find_target(name));
    check_attention(name);
    check_mask(name);
    check_checksum(name);
    for (const Case& c : cases) check_case(c, name);
  }
}

}  // namespace elman::checks
