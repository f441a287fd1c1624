// The bounded JSON parser: what it takes is what nlohmann takes, and every bound holds.
#include "proto/openai/json_reader.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>

namespace coppice::openai {
namespace {

std::string refusal(const std::string& text, const RequestLimits& limits = {}) {
  const Result<Json> parsed = parse_json(text, limits);
  return parsed.ok() ? "" : parsed.error().message;
}

TEST_CASE("parse_json builds what nlohmann's own parser builds") {
  for (const char* const text : {"null", "true", "[]", "{}", "-0", "1e300", "18446744073709551615",
                                 "-9223372036854775808", "\"\\u00e9\\ud83d\\ude00\"",
                                 R"({"a":[1,2.5,{"b":null,"c":[[],{}]}],"":"x","d":{"a":{"a":{}}}})", " [ 1 , 2 ] "}) {
    const Result<Json> parsed = parse_json(text, {});
    REQUIRE(parsed.ok());
    CHECK(parsed.value() == Json::parse(text));
  }
}

TEST_CASE("random documents survive a round trip through parse_json") {
  std::mt19937 random(7);
  const auto build = [&random](const auto& self, int depth) -> Json {
    const auto kind = random() % (depth > 5 ? 4 : 6);
    switch (kind) {
      case 0:
        return nullptr;
      case 1:
        return (random() & 1U) != 0;
      case 2:
        return static_cast<std::int64_t>(random()) - (1LL << 31);
      case 3:
        return fmt::format("text {}", random() % 100);
      case 4: {
        Json array = Json::array();
        for (auto i = random() % 5; i > 0; --i) {
          array.push_back(self(self, depth + 1));
        }
        return array;
      }
      default: {
        Json object = Json::object();
        for (auto i = random() % 30; i > 0; --i) {  // beyond the linear search for duplicates
          object[fmt::format("k{}", i)] = depth > 2 ? Json(1) : self(self, depth + 1);
        }
        return object;
      }
    }
  };
  for (int i = 0; i < 300; ++i) {
    const Json document = build(build, 0);
    const Result<Json> parsed = parse_json(document.dump(), {});
    REQUIRE(parsed.ok());
    CHECK(parsed.value() == document);
  }
}

TEST_CASE("parse_json refuses what is not JSON and says where") {
  for (const char* const text : {"", "{", "[1,]", "{\"a\":}", "{'a':1}", "nul", "1 2", "\"\\ud800\"", "\"\xff\"",
                                 "1e999", "NaN", "[1}", "\"a\nb\"", "{\"a\" 1}"}) {
    INFO(text);
    const Result<Json> parsed = parse_json(text, {});
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().status == 400);
    CHECK(parsed.error().code == "invalid_json");
    CHECK_THAT(parsed.error().message, Catch::Contains("byte"));
  }
}

TEST_CASE("parse_json refuses a key that comes twice, in small and in large objects") {
  CHECK_THAT(refusal(R"({"a":1,"b":2,"a":3})"), Catch::Contains("\"a\" comes twice"));
  std::string large = "{";
  for (int i = 0; i < 1000; ++i) {
    large += fmt::format("\"k{}\":0,", i);
  }
  CHECK(refusal(large + "\"k1000\":0}").empty());
  CHECK_THAT(refusal(large + "\"k3\":0}"), Catch::Contains("\"k3\" comes twice"));
  CHECK_THAT(refusal(large + "\"k999\":0}"), Catch::Contains("\"k999\" comes twice"));
}

TEST_CASE("parse_json holds its bounds") {
  RequestLimits limits;
  limits.json_depth_max = 3;
  limits.json_values_max = 10;
  limits.body_bytes_max = 100;
  CHECK(refusal("[[[1]]]", limits).empty());
  CHECK_THAT(refusal("[[[[1]]]]", limits), Catch::Contains("deeper than 3"));
  CHECK_THAT(refusal(R"({"a":{"a":{"a":{}}}})", limits), Catch::Contains("deeper than 3"));
  CHECK(refusal("[1,2,3,4,5,6,7,8,9]", limits).empty());
  CHECK_THAT(refusal("[1,2,3,4,5,6,7,8,9,10]", limits), Catch::Contains("more than 10"));
  const Result<Json> large = parse_json(std::string(101, ' '), limits);
  REQUIRE_FALSE(large.ok());
  CHECK(large.error().status == 413);
  // A body of brackets is refused long before it could exhaust a stack.
  CHECK_THAT(refusal(std::string(1 << 20, '['), {}), Catch::Contains("deeper than 64"));
}

TEST_CASE("as_integer takes integers in any spelling and nothing else") {
  CHECK(as_integer(Json::parse("3")) == 3);
  CHECK(as_integer(Json::parse("3.0")) == 3);
  CHECK(as_integer(Json::parse("-9223372036854775808")) == std::numeric_limits<std::int64_t>::min());
  CHECK(as_integer(Json::parse("9223372036854775807")) == std::numeric_limits<std::int64_t>::max());
  for (const char* const text : {"3.5", "9223372036854775808", "1e300", "\"3\"", "true", "null", "[]"}) {
    INFO(text);
    CHECK_FALSE(as_integer(Json::parse(text)).has_value());
  }
}

TEST_CASE("describe never cuts a character in two") {
  const std::string text = std::string(39, 'a') + "\xC3\xA9" + std::string(20, 'b');
  CHECK(describe(Json(text)) == "the string \"" + std::string(39, 'a') + "...\" of 61 bytes");
}

std::string quoted(const std::string& text) {
  std::string json = "\"";
  json.append(text).append("\"");
  return json;
}

TEST_CASE("keys, their length and the memory of the tree are bounded") {
  RequestLimits limits;
  limits.object_keys_max = 2;
  limits.key_bytes_max = 3;
  CHECK(parse_json(R"({"a":1,"b":{"c":1,"d":2}})", limits).ok());
  CHECK_THAT(refusal(R"({"a":{"a":1,"b":2,"c":3}})", limits), Catch::Contains("more than 2 keys"));
  CHECK_THAT(refusal(R"({"abcd":1})", limits), Catch::Contains("a key of 4 bytes"));
  limits = {};
  limits.json_tree_bytes_max = 1000;
  CHECK(parse_json("[1,2,3]", limits).ok());
  CHECK_THAT(refusal("[[],[],[],[],[],[],[],[],[],[],[]]", limits), Catch::Contains("1000 bytes of memory"));
  CHECK_THAT(refusal(quoted(std::string(1000, 'x')), limits), Catch::Contains("1000 bytes of memory"));
}

TEST_CASE("a zero byte is no end of JSON") {
  const std::string zero(1, '\0');
  for (const std::string& text : {"{}" + zero, "{}" + zero + "{}", zero + "{}", R"({"a":"b)" + zero + R"("})"}) {
    CHECK_THAT(refusal(text), Catch::Contains("a zero byte"));
  }
  CHECK(parse_json(R"({"a":"\u0000"})", {}).ok());
}

TEST_CASE("messages are cut between two characters") {
  std::string text;
  while (text.size() < 3000) {
    text += "\xE2\x82\xAC";  // a euro sign: three bytes
  }
  for (std::size_t shift = 0; shift < 3; ++shift) {
    const std::string cut = bounded_message(std::string(shift, 'x') + text);
    CHECK(cut.size() <= kMessageBytesMax);
    CHECK(cut.size() > kMessageBytesMax - 4);
    CHECK(parse_json(quoted(cut), {}).ok());
  }
  CHECK(bounded_message("short") == "short");
  CHECK(bad_value("x", text).message.size() <= kMessageBytesMax);
}

}  // namespace
}  // namespace coppice::openai
