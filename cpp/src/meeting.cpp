// meeting.cpp: how threads wait for each other at a meeting.
#include "meeting.hpp"

#include <chrono>
#include <thread>

#include "pause.hpp"
#include "threads.hpp"

namespace scanlib {
namespace {

// A thread that is not busy elsewhere comes much sooner; a block takes much longer.
constexpr auto patience = std::chrono::microseconds(20);
constexpr int spins_before_yield = 1 << 12;

}  // namespace

Meeting::Meeting(std::int64_t columns, std::int64_t grain, int parts) noexcept : parts_(parts) {
  const Split split{columns, grain, parts};
  for (int part = 0; part <= parts; ++part) first_[part] = split.first(part);
}

int Meeting::parts() const noexcept { return parts_; }

std::int64_t Meeting::first(int part) const noexcept { return first_[part]; }

void Meeting::arrive(int part, std::int64_t phase) noexcept {
  places_[part].phase.store(phase, std::memory_order_release);
}

bool Meeting::gather(int part) noexcept {
  const int others = parts_ - 1;
  if (part != 0) {
    int come = come_.load(std::memory_order_relaxed);
    do {
      if (come == given_up) return false;
    } while (!come_.compare_exchange_weak(come, come + 1));
    while ((come = come_.load(std::memory_order_acquire)) != others) {
      if (come == given_up) return false;
      pause();
    }
    return true;
  }
  const auto start = std::chrono::steady_clock::now();
  while (come_.load(std::memory_order_acquire) != others) {
    pause();
    if (std::chrono::steady_clock::now() - start < patience) continue;
    int come = come_.load();
    while (come != others) {
      if (come_.compare_exchange_weak(come, given_up)) return false;
    }
  }
  return true;
}

void Meeting::wait_for(int part, std::int64_t phase) const noexcept {
  const std::atomic<std::int64_t>& other = places_[part].phase;
  for (int spins = 0; other.load(std::memory_order_acquire) < phase; ++spins) {
    if (spins < spins_before_yield) {
      pause();
    } else {
      std::this_thread::yield();  // more threads than free cores: let the other one get on
    }
  }
}

}  // namespace scanlib
