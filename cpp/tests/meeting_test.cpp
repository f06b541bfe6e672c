// meeting_test.cpp: threads that share columns: each sees what the others wrote, and one that does not come is not
// waited for.
#include "meeting.hpp"

#include <thread>
#include <vector>

#include "check.hpp"

using namespace scanlib;

namespace {

constexpr std::int64_t columns = 256, grain = 64;

// Each thread adds up the row that all of them wrote in the step before, and writes its columns of the next one.
void run_steps(Meeting& meeting, int part, std::vector<std::int64_t>* rows, int steps) {
  Seat seat{meeting, part};
  for (int step = 0; step < steps; ++step) {
    const std::vector<std::int64_t>& old = rows[step % 2];
    std::vector<std::int64_t>& next = rows[(step + 1) % 2];
    meeting.arrive(part, ++seat.phase);
    std::int64_t sum = 0;
    for (int other = 0; other < meeting.parts(); ++other) {
      if (other != part) meeting.wait_for(other, seat.phase);
      for (std::int64_t i = meeting.first(other); i < meeting.first(other + 1); ++i) sum += old[i];
    }
    for (std::int64_t i = meeting.first(part); i < meeting.first(part + 1); ++i) next[i] = sum % 1000 + i;
  }
}

std::vector<std::int64_t> last_row(int parts, int steps) {
  std::vector<std::int64_t> rows[2] = {std::vector<std::int64_t>(columns, 1), std::vector<std::int64_t>(columns)};
  Meeting meeting(columns, grain, parts);
  std::vector<char> came(parts);
  std::vector<std::thread> threads;
  for (int part = 1; part < parts; ++part) {
    threads.emplace_back([&, part] {
      came[part] = meeting.gather(part);
      if (came[part]) run_steps(meeting, part, rows, steps);
    });
  }
  came[0] = meeting.gather(0);
  if (came[0]) run_steps(meeting, 0, rows, steps);
  for (std::thread& thread : threads) thread.join();
  for (const char one : came) CHECK(one == came[0]);
  return came[0] ? rows[steps % 2] : std::vector<std::int64_t>();
}

}  // namespace

TEST(meeting, columns_are_dealt_out) {
  const Meeting meeting(192, grain, 2);
  CHECK(meeting.first(0) == 0);
  CHECK(meeting.first(1) == 64);
  CHECK(meeting.first(2) == 192);
}

TEST(meeting, all_see_whole_rows) {
  const std::vector<std::int64_t> expected = last_row(1, 1000);
  CHECK(!expected.empty());
  int met = 0;
  for (int i = 0; i < 2000 && met < 20; ++i) {
    const std::vector<std::int64_t> row = last_row(2 + i % 3, 1000);
    CHECK(row.empty() || row == expected);
    met += !row.empty();
  }
  CHECK(met > 0);
}

TEST(meeting, nobody_waits_for_one_that_does_not_come) {
  Meeting meeting(columns, grain, 3);
  bool came = true;
  std::thread early([&] { came = meeting.gather(1); });
  CHECK(!meeting.gather(0));
  early.join();
  CHECK(!came);
  CHECK(!meeting.gather(2));
}
