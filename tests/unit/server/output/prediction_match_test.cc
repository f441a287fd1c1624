// How much of a prediction came true: by hand, and against the definition, written out by brute force.
#include "server/output/prediction_match.h"

#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace coppice::server {
namespace {

using Ids = std::vector<TokenId>;

// {accepted, rejected}
std::pair<std::int64_t, std::int64_t> match(const Ids& predicted, const Ids& answer) {
  PredictionMatch match(predicted.empty() ? nullptr : std::make_shared<const Prediction>(predicted));
  for (const TokenId token : answer) {
    match.push(token);
  }
  return {match.accepted(), match.rejected()};
}

TEST_CASE("predicted tokens are accepted in order, across what was changed") {
  CHECK(match({}, {1, 2, 3}) == std::pair<std::int64_t, std::int64_t>(0, 0));
  CHECK(match({1, 2, 3, 4}, {}) == std::pair<std::int64_t, std::int64_t>(0, 4));
  CHECK(match({1, 2, 3, 4}, {1, 2, 3, 4, 9}) == std::pair<std::int64_t, std::int64_t>(4, 0));
  CHECK(match({1, 2, 3, 4}, {9, 8, 7}) == std::pair<std::int64_t, std::int64_t>(0, 4));
  // One token replaced, one left out, one put in.
  CHECK(match({1, 2, 3, 4, 5}, {1, 9, 3, 4, 5}) == std::pair<std::int64_t, std::int64_t>(4, 1));
  CHECK(match({1, 2, 3, 4, 5}, {1, 3, 4, 5}) == std::pair<std::int64_t, std::int64_t>(4, 1));
  CHECK(match({1, 2, 3, 4, 5}, {1, 2, 9, 3, 4, 5}) == std::pair<std::int64_t, std::int64_t>(5, 0));
  // What is behind stays behind.
  CHECK(match({1, 2, 3, 4}, {3, 4, 1, 2}) == std::pair<std::int64_t, std::int64_t>(2, 2));
  CHECK(match({7}, {1, 2, 7}) == std::pair<std::int64_t, std::int64_t>(1, 0));
}

// The same by searching.
std::int64_t accepted_by_search(const Ids& predicted, const Ids& answer) {
  std::size_t next = 0;
  std::int64_t accepted = 0;
  bool was_accepted = false;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    if (next < predicted.size() && predicted[next] == answer[i]) {
      ++next;
      ++accepted;
      was_accepted = true;
      continue;
    }
    std::size_t place = next;
    while (i > 0 && place + 1 < predicted.size() &&
           !(predicted[place] == answer[i - 1] && predicted[place + 1] == answer[i])) {
      ++place;
    }
    const bool is_found = i > 0 && place + 1 < predicted.size();
    accepted += is_found ? (was_accepted ? 1 : 2) : 0;
    next = is_found ? place + 2 : next;
    was_accepted = is_found;
  }
  return accepted;
}

TEST_CASE("random sequences: as by search, and never more than either has") {
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    const auto make = [&random](std::mt19937::result_type tokens) {
      Ids ids(random() % 30);
      for (TokenId& id : ids) {
        id = static_cast<TokenId>(random() % tokens);
      }
      return ids;
    };
    const Ids predicted = make(1 + random() % 6);
    const Ids answer = make(1 + random() % 6);
    const auto [accepted, rejected] = match(predicted, answer);
    CHECK(accepted == accepted_by_search(predicted, answer));
    CHECK(accepted + rejected == static_cast<std::int64_t>(predicted.size()));
    CHECK(accepted <= static_cast<std::int64_t>(answer.size()));
    CHECK(rejected >= 0);
  }
}

TEST_CASE("a hostile prediction takes no longer than its length") {
  const Ids same(200'000, 5);
  Ids answer;
  for (int i = 0; i < 100'000; ++i) {
    answer.push_back(i % 2 == 0 ? 5 : 6);
  }
  CHECK(match(same, answer).first == 50'000);
}

}  // namespace
}  // namespace coppice::server
