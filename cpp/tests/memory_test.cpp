// memory_test.cpp: the counting allocator.
#include "scanlib/memory.hpp"

#include <cstdint>
#include <cstring>

#include "check.hpp"

using namespace scanlib;

TEST(memory, counts) {
  const std::int64_t before = allocated_bytes();
  const std::int64_t count = allocation_count();
  reset_peak_bytes();
  void* small = allocate(10);
  void* large = allocate(std::size_t{1} << 23);
  CHECK(reinterpret_cast<std::uintptr_t>(small) % alignment == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(large) % alignment == 0);
  CHECK(allocated_bytes() == before + 10 + (1 << 23));
  CHECK(allocation_count() == count + 2);
  std::memset(large, 1, std::size_t{1} << 23);
  release(small);
  release(large);
  release(nullptr);
  CHECK(allocated_bytes() == before);
  CHECK(peak_bytes() == before + 10 + (1 << 23));
  reset_peak_bytes();
  CHECK(peak_bytes() == before);
}

TEST(memory, refuses) {
  CHECK(allocate(SIZE_MAX) == nullptr);
  void* nothing = allocate(0);
  CHECK(nothing != nullptr);
  release(nothing);
}

#if defined(SCANLIB_HOSTILE)
TEST(memory, poison) {
  auto* block = static_cast<unsigned char*>(allocate(100));
  for (int i = 0; i < 100; ++i) CHECK(block[i] == 0xCB);
  release(block);
}
#endif
