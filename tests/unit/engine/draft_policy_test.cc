// The numbers of drafting, and the credit of time that asking has.
#include "engine/draft_policy.h"

#include <catch2/catch.hpp>

#include "engine/asking_turn.h"

namespace coppice::engine {

TEST_CASE("asking may take a hundredth of a step, but 30 us, but a tenth of a short step", "[drafts]") {
  const DraftPolicy policy;
  CHECK(policy.asking_ns(20'000'000) == 200'000);
  CHECK(policy.asking_ns(3'000'000) == 30'000);
  CHECK(policy.asking_ns(500'000) == 30'000);
  CHECK(policy.asking_ns(300'000) == 30'000);
  CHECK(policy.asking_ns(120'000) == 12'000);
  CHECK(policy.asking_ns(0) == 0);
  CHECK(policy.asking_ns_most(12'000'000) == 1'000'000);
  CHECK(policy.asking_ns_most(120'000) == 12'000);
}

TEST_CASE("each sequence is asked for twice its share of the room", "[drafts]") {
  DraftPolicy policy;
  CHECK(policy.nodes_each(100, 0) == 32);
  CHECK(policy.nodes_each(100, 9) == 20);
  CHECK(policy.nodes_each(100, 60) == 4);
  CHECK(policy.nodes_each(0, 3) == 4);
  policy.nodes_max = 8;
  CHECK(policy.nodes_each(100, 9) == 8);
  policy.takes_all = true;
  CHECK(policy.nodes_each(0, 60) == 8);
}

TEST_CASE("the numbers of drafting are these", "[drafts]") {
  const DraftPolicy policy;
  CHECK(policy.nodes_max == 32);
  CHECK(policy.teach_before == 48);
  CHECK(policy.others_in == 4);
  CHECK(policy.teach_beside == 48);
  CHECK(policy.catch_up_beside == 32);
  CHECK(policy.teach_slice == 48);
  CHECK(policy.catch_up_idle == 1024);
  CHECK(policy.debt_max == 8);
  CHECK(policy.promise_share == 0.5);
}

TEST_CASE("asking stops when its time is spent and goes on where it stopped", "[drafts]") {
  const DraftPolicy policy;
  AskingTurn turn;
  turn.begin_step(policy, 10'000'000);  // 100 us
  CHECK(turn.has_time());
  CHECK(turn.first(5) == 0);
  turn.asked(0, 60'000, 0);
  CHECK(turn.has_time());
  turn.asked(1, 60'000, 0);
  CHECK_FALSE(turn.has_time());
  CHECK(turn.first(5) == 2);
  CHECK(turn.first(2) == 0);
  CHECK(turn.first(0) == 0);
  turn.begin_step(policy, 10'000'000);  // 20 us are owed
  turn.asked(2, 70'000, 0);
  CHECK(turn.has_time());
  turn.asked(3, 11'000, 0);
  CHECK_FALSE(turn.has_time());
}

TEST_CASE("time is not saved up, a debt is bounded, and promises add time up to a twelfth of the step", "[drafts]") {
  const DraftPolicy policy;
  AskingTurn turn;
  for (int step = 0; step < 10; ++step) {
    turn.begin_step(policy, 10'000'000);
  }
  turn.asked(0, 101'000, 0);
  CHECK_FALSE(turn.has_time());
  turn.asked(0, 1e9, 0);  // interrupted
  int steps = 0;
  do {
    turn.begin_step(policy, 10'000'000);
    ++steps;
  } while (!turn.has_time());
  CHECK(steps == 10);  // eight allowances are owed: the first of these steps owes them, the tenth has time again
  turn.asked(0, 500'000, 5e6);
  CHECK(turn.has_time());
  turn.asked(0, 400'000, 5e6);  // more than 833 us in all
  CHECK_FALSE(turn.has_time());
}

}  // namespace coppice::engine
