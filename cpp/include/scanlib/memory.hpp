// memory.hpp: the one allocator of the core: 64-byte aligned, counted, poisoned in hostile builds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace scanlib {

constexpr std::size_t alignment = 64;

constexpr std::size_t round_up(std::size_t bytes) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

// nullptr when there is no memory.  bytes may be 0.
void* allocate(std::size_t bytes) noexcept;
// memory may be nullptr.
void release(void* memory) noexcept;
// Gives what lies outside of the `bytes` bytes at `first` back to the system, in whole pages.  False where the
// system takes nothing back before the block is released.
bool retain(void* memory, std::size_t first, std::size_t bytes) noexcept;

// Fills memory with a byte that makes unwritten reads visible; does nothing unless built with SCANLIB_HOSTILE.
void poison(void* memory, std::size_t bytes) noexcept;

std::int64_t allocated_bytes() noexcept;   // live now
std::int64_t peak_bytes() noexcept;        // most ever live since the last reset
void reset_peak_bytes() noexcept;          // the peak becomes what is live now
std::int64_t allocation_count() noexcept;  // allocations since the program started

}  // namespace scanlib
