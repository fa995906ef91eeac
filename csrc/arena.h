// Blocks of memory that outlive a call: a fresh block from the system costs a page fault for every 4 KiB at first touch,
// which is as much time as the arithmetic of a small layer.
#pragma once

#include <cstddef>
#include <memory>

namespace elman {

inline constexpr size_t alignment = 64;

// At least `bytes`, aligned; throws std::bad_alloc. Contents are arbitrary.
void* take(size_t bytes);
// Hand a block back. It is kept for the next one who asks, up to the limit of what may lie idle.
void give(void* block) noexcept;

struct GiveBack {
  void operator()(void* block) const { give(block); }
};
using Block = std::unique_ptr<void, GiveBack>;

void set_idle_limit(size_t bytes) noexcept;
size_t idle_limit() noexcept;
size_t idle_bytes() noexcept;
size_t taken_bytes() noexcept;

}  // namespace elman
