#include "threads.h"

#include <pthread.h>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "openmp.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace elman {
namespace {

void rest() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Work that no thread leaves by an exception: the first failure is the call's, the others leave the barrier.
class Attempt {
 public:
  explicit Attempt(const Work& work) : work_(work) {}

  void operator()(int index, int threads, Barrier& barrier) noexcept {
    try {
      work_(index, threads, barrier);
    } catch (const Abandoned&) {
    } catch (...) {
      if (!failed_.exchange(true)) failure_ = std::current_exception();
      barrier.abandon();
    }
  }

  // After all threads are done.
  void finish() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const Work& work_;
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

class Team {
 public:
  void run(int threads, const Work& work) {
    std::unique_lock<std::mutex> mine(busy_, std::try_to_lock);
    Barrier alone(1);
    if (threads <= 1 || !mine.owns_lock()) return work(0, 1, alone);
    Attempt attempt(work);
    const Work attempts = std::ref(attempt);
    if (run_on_openmp(threads, attempts)) return attempt.finish();
    if (!grow(threads - 1)) return work(0, 1, alone);
    Barrier barrier(threads);
    work_ = &attempts, barrier_ = &barrier, threads_ = threads;
    left_.store(static_cast<int>(helpers_.size()));
    ++call_;
    call_.notify_all();
    attempt(0, threads, barrier);
    for (int left; (left = left_.load()) != 0;) left_.wait(left);
    attempt.finish();
  }

 private:
  bool grow(int helpers) {
    try {
      while (static_cast<int>(helpers_.size()) < helpers)
        helpers_.emplace_back([this, index = static_cast<int>(helpers_.size()) + 1, seen = call_.load()] { help(index, seen); });
    } catch (const std::exception&) {  // no more threads to be had: the caller works alone
      return false;
    }
    return true;
  }

  void help(int index, unsigned seen) {
    for (;;) {
      call_.wait(seen);
      seen = call_.load();
      if (index < threads_) (*work_)(index, threads_, *barrier_);
      if (left_.fetch_sub(1) == 1) left_.notify_all();
    }
  }

  std::mutex busy_;
  std::vector<std::thread> helpers_;
  std::atomic<unsigned> call_{0};
  std::atomic<int> left_{0};
  const Work* work_ = nullptr;
  Barrier* barrier_ = nullptr;
  int threads_ = 0;
};

// Never destroyed at exit, when helpers may already be gone; a child of fork has no helpers and starts a team of its own.
std::atomic<Team*> team{nullptr};
std::once_flag watch_forks;

Team& the_team() {
  std::call_once(watch_forks, [] { pthread_atfork(nullptr, nullptr, [] { team.store(nullptr); }); });
  Team* now = team.load();
  if (now) return *now;
  auto fresh = std::make_unique<Team>();
  if (team.compare_exchange_strong(now, fresh.get())) return *fresh.release();
  return *now;
}

}  // namespace

void Barrier::wait() {
  if (threads_ == 1) return;
  const int round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
    if (abandoned_.load(std::memory_order_acquire)) throw Abandoned{};
    if (spins < 4000) rest();
    else std::this_thread::yield();
  }
}

void run_on_team(int threads, const Work& work) {
  if (threads <= 1) {
    Barrier alone(1);
    return work(0, 1, alone);
  }
  the_team().run(threads, work);
}

}  // namespace elman
