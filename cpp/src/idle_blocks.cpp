// idle_blocks.cpp: the list of idle blocks.
#include "idle_blocks.hpp"

#include <algorithm>

namespace scanlib {

void* IdleBlocks::take(std::size_t& bytes) noexcept {
  if (bytes < smallest || busy_.test_and_set(std::memory_order_acquire)) return nullptr;
  void* found = nullptr;
  // The newest first: its content may still be in the cache.
  for (std::size_t i = count_; i-- > 0 && found == nullptr;) {
    if (blocks_[i].bytes < bytes || blocks_[i].bytes > bytes + bytes / 4) continue;
    bytes = blocks_[i].bytes;
    found = remove(i);
  }
  busy_.clear(std::memory_order_release);
  return found;
}

bool IdleBlocks::keep(void* block, std::size_t bytes) noexcept {
  if (bytes < smallest || bytes > most_bytes || busy_.test_and_set(std::memory_order_acquire)) return false;
  while (count_ == blocks_.size() || total_ + bytes > most_bytes) release_block(remove(0));
  blocks_[count_++] = Block{block, bytes};
  total_ += bytes;
  busy_.clear(std::memory_order_release);
  return true;
}

void IdleBlocks::clear() noexcept {
  if (busy_.test_and_set(std::memory_order_acquire)) return;
  while (count_ > 0) release_block(remove(count_ - 1));
  busy_.clear(std::memory_order_release);
}

void* IdleBlocks::remove(std::size_t index) noexcept {
  const Block block = blocks_[index];
  std::move(blocks_.begin() + static_cast<std::ptrdiff_t>(index) + 1,
            blocks_.begin() + static_cast<std::ptrdiff_t>(count_),
            blocks_.begin() + static_cast<std::ptrdiff_t>(index));
  --count_;
  total_ -= block.bytes;
  return block.memory;
}

}  // namespace scanlib
