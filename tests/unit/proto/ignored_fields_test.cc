// Which fields are named in the header of the answer, and that nothing else of a request gets there.
#include "proto/openai/ignored_fields.h"

#include <catch2/catch.hpp>

#include "proto/openai/json_reader.h"

namespace coppice::openai {
namespace {

TEST_CASE("fields that are there with a value of their own are named, in the table's order") {
  constexpr IgnoredField kTable[] = {{"metadata"}, {"truncation", "\"disabled\""}, {"user"}, {"store", "false"}};
  const auto named = [&kTable](const char* text) {
    const Json object = Json::parse(text);
    IgnoredFields ignored;
    ignored.add_present(FieldReader(object), kTable);
    return ignored.header();
  };
  CHECK(named("{}").empty());
  CHECK(named(R"({"other":1,"user":null})").empty());
  CHECK(named(R"({"store":false,"truncation":"disabled","metadata":{},"user":""})").empty());
  CHECK(named(R"({"store":true,"truncation":"auto","metadata":{"a":"b"},"user":"u"})") ==
        "metadata, truncation, user, store");
  const Json inner = Json::parse(R"({"effort":"low"})");
  IgnoredFields ignored;
  ignored.add_present(FieldReader(inner, "reasoning."), std::vector<IgnoredField>{{"effort"}});
  CHECK(ignored.header() == "reasoning.effort");
}

TEST_CASE("only plain words, each once, not without bound") {
  IgnoredFields ignored;
  for (const char* const name : {"a", "a", "", "b c", "d\r\nset-cookie: x", "e:", "\xC3\xA9", "web_search.v-1"}) {
    ignored.add(name);
  }
  ignored.add(std::string(65, 'x'));
  CHECK(ignored.header() == "a, web_search.v-1");
  for (int i = 0; i < 1000; ++i) {
    ignored.add(std::to_string(i));
  }
  CHECK(ignored.names().size() == 64);
}

}  // namespace
}  // namespace coppice::openai
