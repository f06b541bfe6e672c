// idle_blocks.hpp: large blocks that were given back lately, kept for whoever needs one of their size next.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace scanlib {

// The system hands out large blocks page by page, each at the price of a page fault and of clearing it; a block
// that is used again has its pages already, and often they are still in the cache.
//
// A thread that finds the list busy goes without: nobody ever waits here, and a process forked while another
// thread was in here is only left without idle blocks.
class IdleBlocks {
 public:
  static constexpr std::size_t smallest = std::size_t{1} << 16;
  static constexpr std::size_t most_bytes = std::size_t{1} << 26;

  // A block of at least `bytes` bytes and not much more, of `bytes` bytes then; nullptr if there is none.
  void* take(std::size_t& bytes) noexcept;
  // Keeps the block, giving older ones back to the system to make room.  False if it is not to be kept.
  bool keep(void* block, std::size_t bytes) noexcept;
  // Gives all of them back to the system.
  void clear() noexcept;

 private:
  struct Block {
    void* memory;
    std::size_t bytes;
  };

  void* remove(std::size_t index) noexcept;

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::array<Block, 32> blocks_{};  // oldest first
  std::size_t count_ = 0;
  std::size_t total_ = 0;
};

// What blocks come from and go to.
void* allocate_block(std::size_t bytes) noexcept;
void release_block(void* block) noexcept;

}  // namespace scanlib
