// What threads share: the team, its barrier, the arena, the token table, and failures in the middle of all that.
#include "../threads.h"

#include <atomic>
#include <cstring>
#include <new>
#include <thread>

#include "../allocations.h"
#include "../arena.h"
#include "../dispatch.h"
#include "cases.h"

namespace elman::checks {
namespace {

const Target& best() { return *find_target(targets_here().front()); }

// Several callers at once; each must see its own sums.
void check_team(int callers) {
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller)
    threads.emplace_back([caller] {
      for (int n = 0; n < 200; ++n) {
        std::vector<int> values(4, 0);
        int sum = 0;
        run_on_team(1 + (n + caller) % 4, [&](int index, int used, Barrier& barrier) {
          values[index] = caller + index + 1;
          barrier.wait();
          if (index == used - 1)
            for (int i = 0; i < used; ++i) sum += values[i] - caller;
          barrier.wait();
          expect(sum == used * (used + 1) / 2, "a barrier must show what was written before it");
          barrier.wait();
        });
      }
    });
  for (std::thread& t : threads) t.join();
}

// One thread fails while the others are before, in or after a barrier; the caller hears of it, and the team goes on.
void check_failures() {
  for (int n = 0; n < 200; ++n) {
    const int who = n % 4, after = n / 4 % 3;
    bool heard = false;
    try {
      run_on_team(4, [&](int index, int used, Barrier& barrier) {
        for (int round = 0; round < 3; ++round) {
          if (index == who % used && round == after) throw std::bad_alloc();
          barrier.wait();
        }
      });
    } catch (const std::bad_alloc&) {
      heard = true;
    }
    expect(heard, "what a thread throws must reach the caller");
  }
}

void check_arena() {
  const size_t before = taken_bytes();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      std::vector<Block> held;
      for (int n = 0; n < 300; ++n) {
        const size_t bytes = static_cast<size_t>(1) << (n * 7 + t) % 18;
        held.push_back(Block(take(bytes)));
        std::memset(held.back().get(), t, bytes);
        for (const Block& b : held) expect(*static_cast<const char*>(b.get()) == t, "a block must be one caller's alone");
        if (n % 3 == 0) held.erase(held.begin());
        if (n % 50 == t) set_idle_limit(n % 100 ? size_t{1} << 20 : 0);
      }
    });
  for (std::thread& t : threads) t.join();
  set_idle_limit(size_t{1} << 30);
  expect(taken_bytes() == before, "blocks must all come back");
}

// A block of the arena is refused in a call that runs on a team.
void check_refusal(const Case& c) {
  const size_t before = taken_bytes();
  bool heard = false;
  fail_allocation(1);
  try {
    run_case(c, best(), 2);
  } catch (const std::bad_alloc&) {
    heard = true;
  }
  expect(heard && fail_allocation(0) == 0 && taken_bytes() == before, c.what() + ": must say that memory was refused, and keep none");
}

// Two callers, two threads each: one of them gets the team, and both get the bits of a single thread.
template <class Run>
void check_callers(const std::string& what, Run run) {
  const Floats wanted = run(1);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 2; ++caller)
    callers.emplace_back([&] {
      for (int n = 0; n < 3; ++n) expect(run(2 + n % 2) == wanted, what + ": must give the same bits in any company");
    });
  for (std::thread& t : callers) t.join();
}

}  // namespace

void check_threads(const std::vector<Case>& cases) {
  check_team(1);
  check_team(3);
  check_failures();
  check_arena();
  for (const Case& c : cases) {
    if (c.kind == "run") {
      check_callers(c.what(), [&](int threads) { return run_case(c, best(), threads); });
      check_refusal(c);
      continue;
    }
    for (const Precision precision : {Precision::float32, Precision::int8}) {
      const auto model = model_of(c, precision);  // its token table is everybody's
      check_callers(c.what(), [&](int threads) { return step_case(c, *model, find_steps(targets_here().front()), threads); });
    }
  }
  check_team(2);
}

}  // namespace elman::checks
