// A team of threads for one call at a time: those of torch's OpenMP where that is shared (openmp.h), else a team of its own,
// whose helpers sleep in the kernel between calls and never spin there.
#pragma once

#include <atomic>
#include <functional>

namespace elman {

// A thread that the others wait for will never come.
struct Abandoned {};

// Where the threads of a team meet. Spins briefly, then yields: the machine may be shared.
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait();  // throws Abandoned
  void abandon() noexcept { abandoned_.store(true, std::memory_order_release); }

 private:
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};  // apart from what the waiting read without end
  alignas(64) std::atomic<int> round_{0};
  std::atomic<bool> abandoned_{false};
};

// Run work(index, barrier) on `threads` threads, the caller's being index 0. A caller that finds the team busy with
// another call runs alone: results do not depend on the number of threads. Returns after all are done. What `work` throws
// in any thread is thrown on here, after the others have left at their next meeting. `threads_used` tells `work` how many
// there are.
using Work = std::function<void(int index, int threads_used, Barrier& barrier)>;
void run_on_team(int threads, const Work& work);

}  // namespace elman
