// A seam for tests: an allocation of the engine that fails when a test says so.
#pragma once

#include <cstdint>

namespace elman {

// The `n`th allocation from now throws std::bad_alloc, and only that one; 0: none. Returns how many were left before.
int64_t fail_allocation(int64_t n) noexcept;

// Every allocation calls this first: blocks of the arena always, those of operator new in a build with checks/failing_new.cc.
void count_allocation();

// While one lives, operator new counts; what the bindings allocate for themselves does not.
struct InEngine {
  InEngine() noexcept;
  ~InEngine();
};
bool in_engine() noexcept;

}  // namespace elman
