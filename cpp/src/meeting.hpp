// meeting.hpp (internal): threads that take the steps of a block together, each with columns of its own.
#pragma once

#include <atomic>
#include <cstdint>

namespace scanlib {

// Threads 0 .. parts - 1; thread i has the columns [first(i), first(i + 1)).  Nothing is inline, as this is read by
// files compiled for different instruction sets.
class Meeting {
 public:
  static constexpr int most = 16;  // threads

  Meeting(std::int64_t columns, std::int64_t grain, int parts) noexcept;

  int parts() const noexcept;
  std::int64_t first(int part) const noexcept;

  // Whether all threads have come: if some have not in good time, thread 0 gives up, and all others with it.
  bool gather(int part) noexcept;

  // Whatever the thread has read and written so far, it has before the others see it at `phase`.  Phases rise.
  void arrive(int part, std::int64_t phase) noexcept;
  // Until that thread has arrived at `phase`.
  void wait_for(int part, std::int64_t phase) const noexcept;

 private:
  // Two cache lines, which processors fetch together.
  struct alignas(128) Place {
    std::atomic<std::int64_t> phase{0};
  };

  static constexpr int given_up = -1;

  int parts_;
  std::int64_t first_[most + 1];
  alignas(128) std::atomic<int> come_{0};  // threads other than 0, or given_up
  Place places_[most];
};

// The place of one thread at a meeting, and how often it has arrived.
struct Seat {
  Meeting& meeting;
  int part;
  std::int64_t phase = 0;
};

}  // namespace scanlib
