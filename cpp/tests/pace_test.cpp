// pace_test.cpp: the faster of two ways is found, kept, and found anew when it changes.
#include "pace.hpp"
#include "check.hpp"

using namespace scanlib;

namespace {

// How many of `turns` went the second way, if the two take this long.
int turns_of_second(Pace& pace, int turns, double first_ns, double second_ns) {
  int second = 0;
  for (int turn = 0; turn < turns; ++turn) {
    const int way = pace.choose();
    second += way;
    pace.record(way, way == 0 ? first_ns : second_ns);
  }
  return second;
}

}  // namespace

TEST(pace, tries_both_ways_twice) {
  Pace pace;
  CHECK(turns_of_second(pace, 4, 1, 1) == 2);
}

TEST(pace, keeps_to_the_faster_way) {
  for (const double second : {0.1, 0.9, 1.1, 10.0}) {
    Pace pace;
    const int turns = turns_of_second(pace, 1000, 1, second);
    CHECK(second < 1 ? turns > 900 : turns < 100);
  }
}

TEST(pace, does_not_believe_the_first_try) {
  Pace pace;
  for (int turn = 0; turn < 2; ++turn) {
    const int way = pace.choose();
    pace.record(way, way == 0 ? 100 : 1);
  }
  CHECK(turns_of_second(pace, 100, 0.5, 1) < 20);
}

TEST(pace, follows_a_change) {
  Pace pace;
  turns_of_second(pace, 100, 1, 1.2);
  turns_of_second(pace, 300, 1, 0.8);
  CHECK(turns_of_second(pace, 100, 1, 0.8) > 80);
  turns_of_second(pace, 300, 0.7, 0.8);
  CHECK(turns_of_second(pace, 100, 0.7, 0.8) < 20);
}

TEST(pace, one_interruption_changes_little) {
  Pace pace;
  turns_of_second(pace, 100, 1, 3);
  const int way = pace.choose();
  CHECK(way == 0);
  pace.record(way, 1e6);
  CHECK(turns_of_second(pace, 100, 1, 3) < 10);
}
