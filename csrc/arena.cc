#include "arena.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

#include "allocations.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace elman {
namespace {

constexpr size_t page = 4096, huge = size_t{2} << 20;

// AddressSanitizer is told what of a block nobody has asked for: it knows only what the system gave.
void bar([[maybe_unused]] void* from, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(from, bytes);
#endif
}
void open([[maybe_unused]] void* from, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(from, bytes);
#endif
}

struct Arena {
  std::mutex mutex;
  std::multimap<size_t, void*> idle;
  std::unordered_map<void*, size_t> sizes;  // of every block there is
  size_t idle_bytes = 0, taken_bytes = 0, limit = size_t{1} << 30;

  void release_beyond(size_t bytes) {
    while (idle_bytes > bytes) {
      const auto largest = std::prev(idle.end());
      idle_bytes -= largest->first;
      sizes.erase(largest->second);
      open(largest->second, largest->first);
      std::free(largest->second);
      idle.erase(largest);
    }
  }
};

Arena& arena();

// A fork waits for the lock: the child has it free, and not held by a thread that is gone.
Arena* watching_forks(Arena* one) {
  pthread_atfork([] { arena().mutex.lock(); }, [] { arena().mutex.unlock(); }, [] { arena().mutex.unlock(); });
  return one;
}

Arena& arena() {
  static Arena* const one = watching_forks(new Arena);  // blocks may come back after static objects are gone
  return *one;
}

// Sizes in steps of a quarter of a power of two, so that batches of slightly different lengths share blocks.
size_t rounded(size_t bytes) {
  size_t step = page;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

}  // namespace

void* take(size_t bytes) {
  count_allocation();
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  const size_t asked = bytes;
  bytes = rounded(bytes ? bytes : 1);
  Arena& a = arena();
  const std::lock_guard<std::mutex> lock(a.mutex);
  const auto found = a.idle.lower_bound(bytes);
  if (found != a.idle.end() && found->first <= bytes + bytes / 2) {
    void* const block = found->second;
    a.idle_bytes -= found->first, a.taken_bytes += found->first;
    a.idle.erase(found);
    open(block, asked);
    return block;
  }
  const bool large = bytes >= huge;
  void* const block = std::aligned_alloc(large ? huge : page, large ? (bytes + huge - 1) / huge * huge : bytes);
  if (!block) throw std::bad_alloc();
  try {
    a.sizes.emplace(block, bytes);
  } catch (...) {
    std::free(block);
    throw;
  }
#if defined(MADV_HUGEPAGE)
  if (large) madvise(block, bytes, MADV_HUGEPAGE);  // a wish; fewer translations to look up
#endif
  a.taken_bytes += bytes;
  bar(static_cast<char*>(block) + asked, bytes - asked);
  return block;
}

void give(void* block) noexcept {
  Arena& a = arena();
  const std::lock_guard<std::mutex> lock(a.mutex);
  const auto known = a.sizes.find(block);
  const size_t bytes = known->second;
  a.taken_bytes -= bytes;
  try {
    if (bytes > a.limit) throw std::bad_alloc();  // never kept
    a.release_beyond(a.limit - bytes);
    a.idle.emplace(bytes, block);
    a.idle_bytes += bytes;
    bar(block, bytes);
  } catch (const std::bad_alloc&) {
    a.sizes.erase(known);
    open(block, bytes);
    std::free(block);
  }
}

void set_idle_limit(size_t bytes) noexcept {
  Arena& a = arena();
  const std::lock_guard<std::mutex> lock(a.mutex);
  a.limit = bytes;
  a.release_beyond(bytes);
}

size_t idle_limit() noexcept {
  const std::lock_guard<std::mutex> lock(arena().mutex);
  return arena().limit;
}
size_t idle_bytes() noexcept {
  const std::lock_guard<std::mutex> lock(arena().mutex);
  return arena().idle_bytes;
}
size_t taken_bytes() noexcept {
  const std::lock_guard<std::mutex> lock(arena().mutex);
  return arena().taken_bytes;
}

}  // namespace elman
