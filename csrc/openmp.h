// The threads of the OpenMP runtime that torch loaded. Its threads spin for a while after each of torch's operations;
// threads of another pool would meanwhile wait for a processor.
#pragma once

#include "threads.h"

namespace elman {

// Look for that runtime, and use its threads from now on, but for children of a fork. Says whether it is shared now.
bool share_openmp();

// Run work on its threads; false where they are not to be had, and nothing was run: no runtime is shared, or this is the
// child of a fork, in which the runtime waits for threads that are gone.
bool run_on_openmp(int threads, const Work& work);

}  // namespace elman
