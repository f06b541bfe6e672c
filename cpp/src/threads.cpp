// threads.cpp: the one pool of threads of a process.
//
// A *task* is one call of run_parts; the atomic word `task` holds its number, the number of threads that may work
// on it, and its number of parts.  A part is claimed by raising claims[part] from an older task's number to this
// one's.  Invariants:
//
//   * Numbers of tasks only grow, and so do claims; so each part of a task is run once.
//   * Whoever wins a claim of task t knows that t has not ended (that part was missing), hence that the function
//     and context it read after seeing t are those of t: they are changed only between two tasks.
//   * `busy` is held by the one caller that uses the pool.  It is only ever tried, never waited for, so a nested or
//     a concurrent caller cannot deadlock; it runs its parts itself.
//
// Every thread tries its own part first, so that repeated tasks find their memory in its caches, and then those
// that nobody has begun: a worker that is late costs its help, never a wait for its arrival.
#include "threads.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "pause.hpp"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define SCANLIB_HAS_FORK
#endif

namespace scanlib {
namespace {

constexpr auto greedy_time = std::chrono::microseconds(10);  // then a waiting worker lets others get on
constexpr auto spin_time = std::chrono::microseconds(200);   // then it goes to sleep, to be woken at a price
constexpr int pauses_per_look = 32;                          // between two looks at the clock
constexpr int part_bits = 10;  // of the word of a task, for its parts, and as many for its threads
static_assert(max_threads < 1 << part_bits);

// The cores this process may run on.
int count_cores() noexcept {
#if defined(__linux__)
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

int clip_threads(long count) noexcept {
  if (count <= 0) count = count_cores();
  if (count > max_threads) count = max_threads;
  return count < 1 ? 1 : static_cast<int>(count);
}

int threads_of_environment() noexcept {
  const char* text = std::getenv("SCANLIB_NUM_THREADS");
  return clip_threads(text == nullptr ? 0 : std::strtol(text, nullptr, 10));
}

std::atomic<int>& thread_count() noexcept {
  static std::atomic<int> count{threads_of_environment()};
  return count;
}

thread_local bool inside_part = false;

struct alignas(64) Claim {
  std::atomic<std::uint64_t> task{0};
};

class Pool {
 public:
  // May start fewer workers than asked for; throws nothing.
  explicit Pool(int workers) noexcept : claims_(new (std::nothrow) Claim[max_threads]) { grow(workers); }
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void grow(int workers) noexcept;
  int workers() const noexcept { return static_cast<int>(workers_.size()); }
  bool usable() const noexcept { return claims_ != nullptr; }
  void run(int threads, int parts, PartFunction function, void* context) noexcept;

 private:
  struct alignas(64) Worker {
    std::atomic<bool> asleep{false};
    std::mutex mutex;
    std::condition_variable wake;
    std::thread thread;
  };

  void work(Worker& worker, int own) noexcept;
  std::uint64_t next_task(Worker& worker, int own, std::uint64_t seen) noexcept;
  std::uint64_t sleep(Worker& worker, int own, std::uint64_t seen) noexcept;
  void take_parts(std::uint64_t word, int own) noexcept;
  void wake(int count) noexcept;

  // Whether this word asks the worker for anything: the word of stopping is all ones.
  static bool concerns(std::uint64_t word, std::uint64_t seen, int own) noexcept {
    return word != seen && threads_of(word) > own;
  }
  static int parts_of(std::uint64_t word) noexcept { return static_cast<int>(word & mask); }
  static int threads_of(std::uint64_t word) noexcept { return static_cast<int>(word >> part_bits & mask); }

  static constexpr std::uint64_t mask = (std::uint64_t{1} << part_bits) - 1;
  static constexpr std::uint64_t stop = ~std::uint64_t{0};

  alignas(64) std::atomic<std::uint64_t> task_{0};  // number of the task, then its threads, then its parts
  std::atomic<PartFunction> function_{nullptr};
  std::atomic<void*> context_{nullptr};
  alignas(64) std::atomic<int> unfinished_{0};
  std::unique_ptr<Claim[]> claims_;
  std::vector<std::unique_ptr<Worker>> workers_;
  bool full_ = false;  // the system gave no more threads: not asked again
};

void Pool::grow(int workers) noexcept {
  if (!usable() || full_) return;
  try {
    while (this->workers() < workers) {
      auto worker = std::make_unique<Worker>();
      Worker* raw = worker.get();
      const int own = this->workers() + 1;  // part 0 is the caller's
      workers_.push_back(std::move(worker));
      try {
        raw->thread = std::thread([this, raw, own] { work(*raw, own); });
      } catch (const std::system_error&) {
        workers_.pop_back();
        throw;
      }
    }
  } catch (const std::exception&) {
    full_ = true;
  }
}

Pool::~Pool() {
  task_.store(stop);
  wake(workers());
  for (const auto& worker : workers_) worker->thread.join();
}

void Pool::wake(int count) noexcept {
  for (int i = 0; i < count; ++i) {
    Worker& worker = *workers_[static_cast<std::size_t>(i)];
    if (!worker.asleep.load() || !worker.asleep.exchange(false)) continue;  // one wake-up per sleep
    const std::lock_guard<std::mutex> lock(worker.mutex);
    worker.wake.notify_one();
  }
}

void Pool::run(int threads, int parts, PartFunction function, void* context) noexcept {
  const std::uint64_t number = (task_.load(std::memory_order_relaxed) >> 2 * part_bits) + 1;
  const std::uint64_t word = (number << 2 * part_bits) | (static_cast<std::uint64_t>(threads) << part_bits) |
                             static_cast<std::uint64_t>(parts);
  function_.store(function, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  unfinished_.store(parts, std::memory_order_relaxed);
  task_.store(word);  // sequentially consistent with `asleep`: a worker sees this task, or is seen asleep
  wake(threads - 1 < workers() ? threads - 1 : workers());
  take_parts(word, 0);
  for (int spins = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 1024) {
      pause();
    } else {
      std::this_thread::yield();  // more threads than free cores: let the others get on
    }
  }
}

// Runs the parts of the task that nobody has begun, `own` first.
void Pool::take_parts(std::uint64_t word, int own) noexcept {
  const std::uint64_t number = word >> 2 * part_bits;
  const int parts = parts_of(word);
  const PartFunction function = function_.load(std::memory_order_relaxed);
  void* const context = context_.load(std::memory_order_relaxed);
  for (int i = 0; i < parts; ++i) {
    const int part = own + i < parts ? own + i : own + i - parts;
    std::atomic<std::uint64_t>& claim = claims_[static_cast<std::size_t>(part)].task;
    std::uint64_t old = claim.load(std::memory_order_relaxed);
    if (old >= number || !claim.compare_exchange_strong(old, number, std::memory_order_acquire)) continue;
    inside_part = true;
    function(context, part);
    inside_part = false;
    unfinished_.fetch_sub(1, std::memory_order_release);
  }
}

void Pool::work(Worker& worker, int own) noexcept {
  std::uint64_t word = 0;
  while ((word = next_task(worker, own, word)) != stop) take_parts(word, own);
}

// Waits for a task other than `seen` that has a part for this worker.
std::uint64_t Pool::next_task(Worker& worker, int own, std::uint64_t seen) noexcept {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < pauses_per_look; ++i) {
      const std::uint64_t word = task_.load(std::memory_order_acquire);
      if (concerns(word, seen, own)) return word;
      pause();
    }
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited > spin_time) return sleep(worker, own, seen);
    if (waited > greedy_time) std::this_thread::yield();
  }
}

std::uint64_t Pool::sleep(Worker& worker, int own, std::uint64_t seen) noexcept {
  std::unique_lock<std::mutex> lock(worker.mutex);
  for (;;) {
    worker.asleep.store(true);
    const std::uint64_t word = task_.load();
    if (concerns(word, seen, own)) {
      worker.asleep.store(false);
      return word;
    }
    worker.wake.wait(lock, [&] { return !worker.asleep.load(); });  // whoever wakes it up clears the flag
  }
}

// --- the pool of this process
// --------------------------------------------------------------------------------------

std::atomic<bool> busy{false};
Pool* pool = nullptr;                     // written by the holder of `busy` only
std::atomic<Pool*> left_behind{nullptr};  // the parent's pool in a forked child: its threads do not exist there

bool try_lock() noexcept { return !busy.load(std::memory_order_relaxed) && !busy.exchange(true); }

void unlock() noexcept { busy.store(false, std::memory_order_release); }

void forget_pool() noexcept {
  left_behind.store(pool);
  pool = nullptr;
  unlock();  // a thread that does not exist any more may have held it
}

// Joins the workers when the process ends.  `busy` stays taken: later calls run without a pool.
const struct Farewell {
  ~Farewell() {
    if (!try_lock()) return;  // another thread is still computing; the end of the process ends it
    delete pool;
    pool = nullptr;
  }
} farewell;

#if defined(SCANLIB_HAS_FORK)
[[maybe_unused]] const int fork_hook = pthread_atfork(nullptr, nullptr, forget_pool);
#endif

// The pool with at least `workers` workers, if the system gives them; nullptr without memory.
Pool* get_pool(int workers) noexcept {
  if (pool == nullptr) {
    pool = new (std::nothrow) Pool(workers);
  } else if (pool->workers() < workers) {
    pool->grow(workers);
  }
  return pool != nullptr && pool->usable() ? pool : nullptr;
}

}  // namespace

// A part of a task computes alone: cutting what it does would make pieces for threads that are busy.
int get_threads() noexcept { return inside_part ? 1 : thread_count().load(std::memory_order_relaxed); }

void set_threads(int count) noexcept { thread_count().store(clip_threads(count), std::memory_order_relaxed); }

void run_parts(int threads, int parts, PartFunction function, void* context) noexcept {
  if (parts > 1 && threads > 1 && try_lock()) {
    if (Pool* const here = get_pool(threads - 1)) {
      here->run(threads, parts, function, context);
      unlock();
      return;
    }
    unlock();
  }
  const bool inside = std::exchange(inside_part, true);
  for (int part = 0; part < parts; ++part) function(context, part);
  inside_part = inside;
}

}  // namespace scanlib
