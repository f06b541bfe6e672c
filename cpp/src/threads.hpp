// threads.hpp (internal): spreading independent parts of one piece of work over the pool.
//
// The parts are fixed by the work and the number of threads alone; who runs a part, and when, changes nothing.
// When the pool cannot be had (another call uses it, or a part asks for it), the caller runs the same parts, one
// after the other.  Nothing is allocated once the workers exist.
#pragma once

#include <cstdint>

#include "scanlib/threads.hpp"

namespace scanlib {

// What runs one part.  It must not throw.
using PartFunction = void (*)(void* context, int part) noexcept;

// Runs function(context, part) for each part of 0 .. parts - 1, on at most so many threads, and returns when all
// have ended.  What the parts wrote is visible to the caller.  parts must not exceed max_threads, nor threads the
// parts.
void run_parts(int threads, int parts, PartFunction function, void* context) noexcept;

namespace {  // never shared between files compiled for different instruction sets

// `count` items cut into contiguous parts, in units of `grain` items (only the last part may end inside a unit).
struct Split {
  std::int64_t count;
  std::int64_t grain;
  int parts;
  int shares = 1;  // parts for each thread: with several, one that comes late leaves its work to others

  std::int64_t first(int part) const {
    const std::int64_t units = (count + grain - 1) / grain;
    const std::int64_t item = units * part / parts * grain;
    return item < count ? item : count;
  }
};

inline Split split_items(std::int64_t count, std::int64_t grain, int threads) {
  const std::int64_t units = (count + grain - 1) / grain;
  const std::int64_t parts = units < threads ? units : threads;
  return Split{count, grain, parts < 1 ? 1 : static_cast<int>(parts)};
}

// The same, with several parts for each thread where they have at least `enough` items each.
inline Split split_in_shares(std::int64_t count, std::int64_t enough, int threads, int shares) {
  const Split whole = split_items(count, 1, threads);
  const int parts = whole.parts * shares;
  return parts <= max_threads && parts * enough <= count ? Split{count, 1, parts, shares} : whole;
}

// Calls body(part, first, last) for each part of the split.
template <class Body>
void run_split(const Split& split, const Body& body) noexcept {
  struct Context {
    const Split& split;
    const Body& body;
  } context{split, body};
  const PartFunction function = [](void* erased, int part) noexcept {
    const auto& work = *static_cast<const Context*>(erased);
    work.body(part, work.split.first(part), work.split.first(part + 1));
  };
  if (split.parts == 1) {
    function(&context, 0);
  } else {
    run_parts(split.parts / split.shares, split.parts, function, &context);
  }
}

// Calls body(first, last) on contiguous parts of 0 .. count - 1, one per thread, each a multiple of `grain` items
// long (except the last).
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) noexcept {
  const auto part = [&](int, std::int64_t first, std::int64_t last) { body(first, last); };
  run_split(split_items(count, grain, get_threads()), part);
}

}  // namespace
}  // namespace scanlib
