// Ids of tool calls: their form, and that none comes twice.
#include "server/output/call_ids.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace coppice::server {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

TEST_CASE("short ids are nine letters and digits, long ones OpenAI's; none comes twice") {
  std::set<std::string> seen;
  for (const bool is_short : {false, true}) {
    const CallIds ids(is_short);
    for (int i = 0; i < 20'000; ++i) {
      const std::string id = ids.next();
      const std::string random = is_short ? id : id.substr(5);
      REQUIRE(id.starts_with(is_short ? "" : "call_"));
      REQUIRE(random.size() == (is_short ? 9U : 24U));
      REQUIRE(std::all_of(random.begin(), random.end(), is_letter_or_digit));
      REQUIRE(seen.insert(id).second);
    }
  }
}

TEST_CASE("short ids are shared by all that make them, and do not follow each other") {
  std::set<std::string> seen;
  std::set<char> first;
  for (int i = 0; i < 5000; ++i) {
    const std::string id = CallIds(true).next();
    REQUIRE(seen.insert(id).second);
    first.insert(id.front());
  }
  CHECK(first.size() > 50);  // of 62
}

}  // namespace
}  // namespace coppice::server
