// threads.hpp: how many threads the core uses; one pool serves all calls of the process.
#pragma once

namespace scanlib {

constexpr int max_threads = 256;

// The number of threads that products and elementwise loops are spread over, at least 1.  It starts as the
// environment variable SCANLIB_NUM_THREADS (ignored unless a positive number), else as the number of cores this
// process may use.
int get_threads() noexcept;

// 0 (or less) stands for all cores; more than max_threads for max_threads.  Calls that are running keep theirs.
void set_threads(int count) noexcept;

}  // namespace scanlib
