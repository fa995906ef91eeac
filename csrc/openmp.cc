#include "openmp.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>

#include <cstring>
#include <string>
#endif

namespace elman {
namespace {

// What the compiler calls for `#pragma omp parallel`, and what tells a thread which one it is.
struct Runtime {
  void (*parallel)(void (*region)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*threads)() = nullptr;
  int (*index)() = nullptr;
};

Runtime found;
std::atomic<bool> shared{false};

struct Region {
  const Work& work;
  const int threads;
  Barrier together{threads}, alone{1};
};

// The runtime may give fewer threads than it was asked for; then one does it all, since the barrier counts on the number.
void enter(void* data) {
  Region& region = *static_cast<Region*>(data);
  const int threads = found.threads(), index = found.index();
  if (threads == region.threads) region.work(index, threads, region.together);
  else if (index == 0) region.work(0, 1, region.alone);
}

#if defined(__linux__)
// GNU's runtime beside torch: there may be others, which came with other packages.
int look_at(dl_phdr_info* library, size_t, void* data) {
  const char* path = library->dlpi_name;
  if (!std::strstr(path, "torch") || !std::strstr(path, "libgomp")) return 0;
  *static_cast<std::string*>(data) = path;
  return 1;
}

bool find() {
  std::string path;
  dl_iterate_phdr(look_at, &path);
  void* const library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (!library) return false;
  const Runtime there = {reinterpret_cast<decltype(Runtime::parallel)>(dlsym(library, "GOMP_parallel")),
                         reinterpret_cast<decltype(Runtime::threads)>(dlsym(library, "omp_get_num_threads")),
                         reinterpret_cast<decltype(Runtime::index)>(dlsym(library, "omp_get_thread_num"))};
  if (!there.parallel || !there.threads || !there.index) return false;
  found = there;
  return true;
}
#else
bool find() { return false; }
#endif

}  // namespace

bool share_openmp() {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> mine(one_at_a_time);
  // Found once: a child keeps what its handler of the fork has said.
  if (!found.parallel && find() && pthread_atfork(nullptr, nullptr, [] { shared.store(false); }) == 0) shared.store(true);
  return shared.load();
}

bool run_on_openmp(int threads, const Work& work) {
  if (!shared.load()) return false;
  Region region{work, threads};
  found.parallel(enter, &region, static_cast<unsigned>(threads), 0);
  return true;
}

}  // namespace elman
