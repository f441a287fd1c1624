// Which names clients may give their requests.
#include "server/sessions/request_id.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace coppice::server {
namespace {

TEST_CASE("short printable names stay") {
  CHECK(choose_request_id("a-b_c:1") == "a-b_c:1");
  CHECK(choose_request_id(std::string(128, 'x')) == std::string(128, 'x'));
}

TEST_CASE("others are replaced by names that are all different") {
  std::set<std::string> names;
  for (const std::string& given :
       {std::string(), std::string(129, 'x'), std::string(1 << 20, 'x'), std::string("a b"), std::string("a\n"),
        std::string("\"a"), std::string("\xc3\xa4"), std::string(1, '\0'), std::string("\x7f")}) {
    const std::string name = choose_request_id(given);
    CHECK(name.size() == 32);
    CHECK(is_request_id(name));
    names.insert(name);
  }
  CHECK(names.size() == 9);
}

}  // namespace
}  // namespace coppice::server
