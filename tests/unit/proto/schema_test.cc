// Schemas: what they let through, in which words they refuse, and that what is written is JSON Schema of the same.
#include "proto/openai/schema.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace coppice::openai {
namespace {

// The refusal of a value called "x", or "".
std::string refusal(const Schema& schema, const std::string& json) {
  const MaybeError error = schema.check(Json::parse(json), "x");
  if (error) {
    CHECK(error->status == 400);
  }
  return error ? error->message : "";
}

std::string written(const Schema& schema, bool in_full = false) {
  JsonWriter out;
  schema.write(out, in_full);
  return out.take();
}

struct Row {
  Schema schema;
  const char* json;
  const char* refusal;  // "": allowed
};

TEST_CASE("every kind of schema lets through what it says and refuses the rest by name") {
  const Schema words = Schema::word({"a", "b", "c"});
  const Schema few = Schema::array(Schema::integer(0, 9), 1, 2, "digits");
  const Schema texts_or_digits =
      Schema::one_of("text, texts or digits", {Schema::string(), Schema::array(Schema::string()), few});
  const Schema point = Schema::object({required("y", Schema::integer()), optional("z", words)});
  const Schema closed = Schema::object({required("y", Schema::any())}, Schema::Others::kRefused);
  const Schema shapes = Schema::tagged(
      "type", {{"point", point},
               {"closed", Schema::object({required("type", Schema::word({"closed"}))}, Schema::Others::kRefused)}});
  const Schema or_point = Schema::tagged("type", {{"point", point}}, "point");
  const std::vector<Row> rows = {
      {Schema::any(), "[{}]", ""},
      {Schema::null(), "null", ""},
      {Schema::null(), "0", "'x' must be null; got the number 0"},
      {Schema::boolean(), "true", ""},
      {Schema::boolean(), "1", "'x' must be true or false; got the number 1"},
      {Schema::integer(1, 5), "5", ""},
      {Schema::integer(1, 5), "5.0", ""},
      {Schema::integer(1, 5), "6", "'x' must be from 1 to 5; got 6"},
      {Schema::integer(1, 5), "1.5", "'x' must be an integer; got the number 1.5"},
      {Schema::integer(1, 5), "true", "'x' must be an integer; got true"},
      {Schema::integer(), "-9223372036854775808", ""},
      {Schema::number(), "-1e300", ""},
      {Schema::number(0, 1), "0.5", ""},
      {Schema::number(0, 1), "1.5", "'x' must be from 0 to 1; got 1.5"},
      {Schema::number(0, 1), "\"1\"", "'x' must be a number; got the string \"1\""},
      {Schema::string(), "\"\"", ""},
      {Schema::string(1), "\"\"", "'x' must be a string that is not empty; got the string \"\""},
      {Schema::string(0, 2), "\"\u00e9\u00e9\"", ""},  // lengths are characters
      {Schema::string(0, 2), "\"abc\"", "'x' must be a string of 0 to 2 characters; got the string \"abc\""},
      {words, "\"b\"", ""},
      {words, "\"d\"", "'x' must be \"a\", \"b\" or \"c\"; got the string \"d\""},
      {few, "[1,2]", ""},
      {few, "[]", "'x' must be an array of 1 to 2 digits; got an empty array"},
      {few, "[1,2,3]", "'x' must be an array of 1 to 2 digits; got an array of 3"},
      {few, "[1,10]", "'x[1]' must be from 0 to 9; got 10"},
      {few, "[\"a\"]", "'x[0]' must be an integer; got the string \"a\""},
      {few, "{}", "'x' must be an array of 1 to 2 digits; got an object"},
      {texts_or_digits, "\"a\"", ""},
      {texts_or_digits, "[\"a\",\"b\"]", ""},
      {texts_or_digits, "[1]", ""},
      {texts_or_digits, "[1,\"a\"]", "'x[1]' must be an integer; got the string \"a\""},
      {texts_or_digits, "[[]]", "'x' must be text, texts or digits; got an array of 1"},
      {texts_or_digits, "3", "'x' must be text, texts or digits; got the number 3"},
      {point, R"({"y":1,"z":"a","other":[]})", ""},
      {point, R"({"y":1,"z":null})", ""},
      {point, R"({"z":"a"})", "'x.y' is missing: it must be an integer"},
      {point, R"({"y":null})", "'x.y' must be an integer; got null"},
      {point, R"({"y":1,"z":"q"})", "'x.z' must be \"a\", \"b\" or \"c\"; got the string \"q\""},
      {point, "[]", "'x' must be an object; got an empty array"},
      {closed, R"({"y":1})", ""},
      {closed, R"({"y":1,"w":2})", "'x.w' is not a field of this request: leave it out"},
      {Schema::map(Schema::integer()), R"({"a":1,"b":2})", ""},
      {Schema::map(Schema::integer()), R"({"a":1,"b":"c"})", "'x.b' must be an integer; got the string \"c\""},
      {shapes, R"({"type":"point","y":3})", ""},
      {shapes, R"({"type":"point"})", "'x.y' is missing: it must be an integer"},
      {shapes, R"({"type":"closed","y":3})", "'x.y' is not a field of this request: leave it out"},
      {shapes, R"({"type":"line"})", "'x.type' must be \"point\" or \"closed\"; got the string \"line\""},
      {shapes, R"({"y":3})", "'x' must be an object whose 'type' is \"point\" or \"closed\"; got an object"},
      {shapes, "3", "'x' must be an object whose 'type' is \"point\" or \"closed\"; got the number 3"},
      {or_point, R"({"y":3})", ""},
      {or_point, R"({"y":3,"type":null})", ""},
      {or_point, R"({"y":3,"type":4})", "'x' must be an object whose 'type' is \"point\"; got an object"},
  };
  for (const Row& row : rows) {
    INFO(row.json << " for " << written(row.schema, true));
    CHECK(refusal(row.schema, row.json) == row.refusal);
  }
}

TEST_CASE("the body itself has no name") {
  const Schema body = Schema::object({required("a", Schema::integer())});
  CHECK(body.check(Json::array(), "")->message == "the request body must be an object; got an empty array");
  CHECK(body.check(Json::object(), "")->param == "a");
}

TEST_CASE("schemas are written as JSON Schema") {
  CHECK(written(Schema::any()) == "{}");
  CHECK(written(Schema::integer(0, 3)) == R"({"type":"integer","minimum":0,"maximum":3})");
  CHECK(written(Schema::integer()) == R"({"type":"integer"})");
  CHECK(written(Schema::number(0, 1)) == R"({"type":"number","minimum":0,"maximum":1})");
  CHECK(written(Schema::string(1, 4)) == R"({"type":"string","minLength":1,"maxLength":4})");
  CHECK(written(Schema::word({"a"})) == R"({"type":"string","enum":["a"]})");
  CHECK(written(Schema::array(Schema::boolean(), 1)) == R"({"type":"array","minItems":1,"items":{"type":"boolean"}})");
  CHECK(written(Schema::map(Schema::null())) == R"({"type":"object","additionalProperties":{"type":"null"}})");
  CHECK(written(Schema::object({required("a", Schema::string(), "What."), optional("b", Schema::boolean())},
                               Schema::Others::kRefused)) ==
        R"({"type":"object","properties":{"a":{"description":"What.","anyOf":[{"type":"string"}]},)"
        R"("b":{"anyOf":[{"type":"boolean"},{"type":"null"}]}},"required":["a"],"additionalProperties":false})");
  CHECK(written(Schema::one_of("", {Schema::null(), Schema::boolean()})) ==
        R"({"anyOf":[{"type":"null"},{"type":"boolean"}]})");
}

TEST_CASE("schemas with names are written once, and by reference elsewhere") {
  const Schema inner = Schema::boolean().named("Inner");
  const Schema outer = Schema::array(Schema::object({required("a", inner), required("b", inner)})).named("Outer");
  CHECK(written(inner) == R"({"$ref":"#/components/schemas/Inner"})");
  CHECK(written(inner, true) == R"({"type":"boolean"})");
  std::vector<Schema> list;
  Schema::map(outer).list_named(list);
  REQUIRE(list.size() == 2);
  CHECK(list[0].name() == "Inner");
  CHECK(list[1].name() == "Outer");
}

}  // namespace
}  // namespace coppice::openai
