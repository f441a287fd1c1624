// NaN, Infinity and -Infinity as Python's json module writes them, and whatever else only looks like them.
#include "base/python_json.h"

#include <catch2/catch.hpp>
#include <string>

namespace coppice::base {
namespace {

struct Row {
  std::string text;
  std::string expected;
  std::size_t count;
};

TEST_CASE("the numbers of Python's JSON become null") {
  const Row rows[] = {
      {R"({"a":NaN,"b": Infinity ,"c":[-Infinity,1]})", R"({"a":null,"b": null ,"c":[null,1]})", 3},
      {"NaN", "null", 1},
      {"[NaN,NaN]", "[null,null]", 2},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    std::size_t count = 9;
    CHECK(without_python_numbers(row.text, count) == row.expected);
    CHECK(count == row.count);
  }
}

TEST_CASE("strings, and words that only resemble such numbers, stay as they are") {
  for (const std::string text :
       {R"({"NaN":"Infinity","a\"NaN":1})", R"(["\\",1,"NaN\\"])", "[nan,NaNs,xNaN,+Infinity,--Infinity,1NaN]", "",
        "\"NaN", "[\"\\", "[1e5,-0.5,true,null]"}) {
    INFO(text);
    std::size_t count = 9;
    CHECK(without_python_numbers(text, count) == text);
    CHECK(count == 0);
  }
}

}  // namespace
}  // namespace coppice::base
