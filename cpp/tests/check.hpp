// check.hpp: TEST(family, name) { … CHECK(condition); … }
#pragma once

#include <cstdio>
#include <vector>

namespace checks {

struct Test {
  const char* family;
  const char* name;
  void (*run)();
};

inline std::vector<Test>& all() {
  static std::vector<Test> tests;
  return tests;
}

inline int& failures() {
  static int count = 0;
  return count;
}

inline bool add(const char* family, const char* name, void (*run)()) {
  all().push_back({family, name, run});
  return true;
}

}  // namespace checks

#define TEST(family, name)                                                                  \
  static void family##_##name();                                                            \
  static const bool family##_##name##_added = checks::add(#family, #name, family##_##name); \
  static void family##_##name()

#define CHECK(condition)                                                  \
  do {                                                                    \
    if (!(condition)) {                                                   \
      ++checks::failures();                                               \
      std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                     \
  } while (false)
