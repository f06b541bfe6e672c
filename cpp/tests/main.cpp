// main.cpp: runs all tests, or those of the family named.
#include <cstring>

#include "check.hpp"

int main(int count, char** arguments) {
  int run = 0;
  for (const checks::Test& test : checks::all()) {
    if (count > 1 && std::strcmp(arguments[1], test.family) != 0) continue;
    const int before = checks::failures();
    test.run();
    ++run;
    if (checks::failures() > before) std::printf("FAILED %s.%s\n", test.family, test.name);
  }
  std::printf("%d tests, %d failed checks\n", run, checks::failures());
  return run == 0 || checks::failures() > 0 ? 1 : 0;
}
