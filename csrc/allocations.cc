#include "allocations.h"

#include <algorithm>
#include <atomic>
#include <new>

namespace elman {
namespace {

std::atomic<int64_t> left{0};
std::atomic<int> calls{0};

}  // namespace

int64_t fail_allocation(int64_t n) noexcept { return std::max(left.exchange(n), int64_t{0}); }  // two threads may count past it

void count_allocation() {
  if (left.load(std::memory_order_relaxed) > 0 && left.fetch_sub(1) == 1) throw std::bad_alloc();
}

InEngine::InEngine() noexcept { ++calls; }
InEngine::~InEngine() { --calls; }
bool in_engine() noexcept { return calls.load(std::memory_order_relaxed) > 0; }

}  // namespace elman
