// Schemas: what is listed as not enforced, what is rewritten, what is refused.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "text/grammar/schema_check.h"

namespace coppice::text {
namespace {

using Json = nlohmann::ordered_json;

Json rewritten(std::string_view schema) {
  return Json::parse(check_schema(schema).value().json);
}

std::vector<std::string> listed(std::string_view schema) {
  const CheckedSchema checked = check_schema(schema).value();
  std::vector<std::string> keywords;
  for (const UnenforcedKeyword& row : checked.unenforced) {
    keywords.push_back(row.pointer + " " + row.keyword);
  }
  return keywords;
}

TEST_CASE("every keyword that is not enforced is listed with its JSON pointer") {
  using Listed = std::vector<std::string>;
  const std::pair<const char*, Listed> kCases[] = {
      {R"({"not":{}})", {"# not"}},
      {R"({"if":{},"then":{},"else":{}})", {"# if", "# then", "# else"}},
      {R"({"type":"object","properties":{"a/b":{"not":{}}}})", {"#/properties/a~1b not"}},
      {R"({"type":"object","dependentRequired":{},"dependentSchemas":{}})",
       {"# dependentRequired", "# dependentSchemas"}},
      {R"({"allOf":[{"type":"string"},{"minLength":1}]})", {"# allOf"}},
      {R"({"type":"array","uniqueItems":true})", {"# uniqueItems"}},
      {R"({"type":"array","uniqueItems":false})", {}},
      {R"({"type":"array","contains":{},"minContains":1})", {"# contains"}},
      {R"({"type":"number","multipleOf":0.1})", {"# multipleOf"}},
      {R"({"type":"integer","multipleOf":5000})", {"# multipleOf"}},
      {R"({"type":"integer","multipleOf":5,"minimum":1})", {"# multipleOf"}},
      {R"({"type":"integer","multipleOf":5,"minimum":1,"maximum":100})", {}},
      {R"({"type":"string","pattern":"a","minLength":1})", {"# minLength"}},
      {R"({"type":"string","pattern":"a","minLength":0})", {}},
      {R"({"type":"string","format":"date","maxLength":1,"pattern":"a"})", {"# maxLength", "# pattern"}},
      {R"({"type":"string","format":"color"})", {"# format"}},
      {R"({"type":"string","pattern":"(?=a)b"})", {"# pattern"}},
      {R"({"type":"object","patternProperties":{"a":{},"b":{}}})", {"# patternProperties"}},
      {R"({"type":"object","patternProperties":{"^a$":{}},"propertyNames":{"maxLength":1}})",
       {"# patternProperties", "# propertyNames"}},
      {R"({"type":"object","properties":{"a":{}},"propertyNames":{"maxLength":1}})", {"# propertyNames"}},
      {R"({"type":"object","minProperties":1})", {"# minProperties"}},
      {R"({"type":"object","minProperties":1,"required":["a"]})", {}},
      {R"({"type":"object","properties":{"a":{},"b":{}},"maxProperties":1})", {"# maxProperties"}},
      {R"({"$ref":"#/$defs/a","minLength":3,"$defs":{"a":{"type":"string"}}})", {"# minLength"}},
      {R"({"$ref":"#/$defs/a","description":"d","$defs":{"a":{"not":{}}}})", {"#/$defs/a not"}},
      {R"({"enum":["a"],"minLength":3})", {"# minLength"}},
      {R"({"anyOf":[{"type":"string"}],"required":["a"]})", {"# required"}},
      {R"({"anyOf":[{"$ref":"#/$defs/a"}],"type":"object","$defs":{"a":true}})", {"# type"}},
      {R"({"oneOf":[{"type":"string"},{"minLength":3}]})", {"# oneOf"}},
      {R"({"const":9007199254740993})", {}},
      {R"({"const":18446744073709551615})", {"# const"}},
      {R"({"enum":[100000000000000000000]})", {"# enum"}},
      {R"({"items":[{}]})", {"# items"}},
      {R"({"properties":{"a":{"$id":"b"}}})", {"#/properties/a $id"}},
  };
  for (const auto& [schema, keywords] : kCases) {
    CAPTURE(schema);
    CHECK(listed(schema) == keywords);
  }
}

TEST_CASE("a oneOf whose branches exclude one another is enforced") {
  const char* const kDisjoint[] = {
      R"({"oneOf":[{"type":"string"},{"type":"integer"},{"type":["null","boolean"]}]})",
      R"({"oneOf":[{"const":1},{"enum":[2,"a"]},{"type":"object"}]})",
      R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"}},"required":["kind"]},
                   {"type":"object","properties":{"kind":{"enum":["b","c"]}},"required":["kind"]}]})",
      R"({"oneOf":[{"$ref":"#/$defs/a"},{"type":"null"}],"$defs":{"a":{"type":"string"}}})"};
  for (const char* schema : kDisjoint) {
    CAPTURE(schema);
    CHECK(listed(schema).empty());
  }
  const char* const kNot[] = {R"({"oneOf":[{"type":"number"},{"type":"integer"}]})",
                              R"({"oneOf":[{"const":1},{"const":1.0}]})",
                              R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"}},"required":["kind"]},
                   {"type":"object","properties":{"kind":{"const":"b"}}}]})",
                              R"({"oneOf":[{},{"type":"null"}]})"};
  for (const char* schema : kNot) {
    CAPTURE(schema);
    CHECK(listed(schema) == std::vector<std::string>{"# oneOf"});
  }
}

TEST_CASE("what stands beside a ruling keyword is worked into it where that is exact") {
  CHECK(rewritten(R"({"enum":["a",1,null],"type":["string","null"]})") == Json::parse(R"({"enum":["a",null]})"));
  CHECK(rewritten(R"({"const":3,"type":"integer"})") == Json::parse(R"({"enum":[3]})"));
  CHECK(rewritten(R"({"type":"string","anyOf":[{"enum":["a",1]},{"maxLength":0}]})") ==
        Json::parse(R"({"anyOf":[{"enum":["a"]},{"enum":[""]}]})"));
  CHECK(rewritten(R"({"minimum":1.5,"exclusiveMaximum":4,"type":"integer"})") ==
        Json::parse(R"({"type":"integer","minimum":2,"maximum":3})"));
  CHECK(rewritten(R"({"anyOf":[false,{"type":"null"},{"type":"null"}]})") ==
        Json::parse(R"({"anyOf":[{"type":"null"}]})"));
  CHECK(rewritten(R"({"minLength":0})") == Json::parse(R"({"type":"string"})"));
}

TEST_CASE("objects: undeclared required names, names that exclude, closed ones") {
  CHECK(rewritten(R"({"required":["a"],"additionalProperties":{"type":"null"}})")["properties"] ==
        Json::parse(R"({"a":{"type":"null"}})"));
  const Json open = rewritten(R"({"properties":{"a":{}},"additionalProperties":true})");
  CHECK(open["additionalProperties"] == false);
  CHECK(open["patternProperties"].size() == 1);
  const Json closed = rewritten(R"({"properties":{"a":{}}})");
  CHECK(closed["additionalProperties"] == false);
  CHECK_FALSE(closed.contains("patternProperties"));
  CHECK(rewritten(R"({"type":"object"})")["additionalProperties"] == Json::object());
}

TEST_CASE("references are resolved inside the document, through escapes and circles") {
  const Json out = rewritten(R"({"$ref":"#/$defs/a~1b%20c","$defs":{"a/b c":{"properties":{"n":{"$ref":"#"}}}}})");
  CHECK(out["$ref"] == "#/$defs/r0");
  CHECK(out["$defs"]["r0"]["properties"]["n"] == Json::parse(R"({"$ref":"#"})"));
  CHECK(rewritten(R"({"anyOf":[{"$ref":"#/anyOf/1"},{"type":"null"}]})")["$defs"]["r0"]["type"] == "null");
}

TEST_CASE("what is no schema, or accepts nothing, is refused with its place") {
  const std::pair<const char*, const char*> kCases[] = {
      {"{", "the schema is not JSON"},
      {"3", "#: a schema must be an object or a boolean"},
      {"false", "#: accepts no value"},
      {R"({"type":"text"})", "#: there is no type \"text\""},
      {R"({"properties":{"a":3}})", "#/properties/a: a schema must be an object or a boolean"},
      {R"({"$ref":"https://example.com/s"})", "#: `$ref` https://example.com/s refers outside the document"},
      {R"({"$ref":"#name"})", "#: `$ref` #name is no JSON pointer"},
      {R"({"$ref":"#/$defs/a"})", "#: `$ref` #/$defs/a is not in the document"},
      {R"({"$ref":"#"})", "#: `$ref` # leads back to itself"},
      {R"({"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"items":{"$ref":"#/$defs/a"}})",
       "#/items: `$ref` #/$defs/a leads back to itself"},
      {R"({"enum":[]})", "#: `enum` must be a list with values"},
      {R"({"enum":[1],"type":"string"})", "#: no listed value is of the schema's `type`"},
      {R"({"minLength":3,"maxLength":2})", "#: `minLength` is more than `maxLength`"},
      {R"({"type":"integer","minimum":1.2,"maximum":1.8})", "#: no whole number lies between the bounds"},
      {R"({"minLength":-1})", "#: `minLength` must be a whole number from 0 on"},
      {R"({"required":["a"],"additionalProperties":false})",
       "#: `required` has a name that `additionalProperties` excludes"},
      {R"({"properties":{"a":false},"required":["a"]})", "#: a required property accepts no value"},
      {R"({"multipleOf":0})", "#: `multipleOf` must be more than 0"},
  };
  for (const auto& [schema, message] : kCases) {
    CAPTURE(schema);
    const absl::Status status = check_schema(schema).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()) == message);
  }
}

TEST_CASE("a required name that no rule lets in is refused, whichever keyword excludes it") {
  for (const char* const keyword : {"additionalProperties", "unevaluatedProperties"}) {
    const std::string schema =
        std::string(R"({"properties":{"a":{}},"required":["a","b"],")") + keyword + R"(":false})";
    CHECK(std::string(check_schema(schema).status().message()).find("excludes") != std::string::npos);
  }
}

TEST_CASE("patternProperties beside an open additionalProperties is listed, not closed") {
  const auto checked =
      check_schema(R"({"additionalProperties":{"type":"number"},"patternProperties":{"^x":{"type":"null"}}})");
  REQUIRE(checked.ok());
  REQUIRE(checked->unenforced.size() == 1);
  CHECK(checked->unenforced[0].keyword == "patternProperties");
}

TEST_CASE("a large pattern is written once, whatever uses it") {
  const std::string text = R"({"type":"string","pattern":"^[a-z]{100}$"})";
  const auto checked = check_schema(R"({"items":)" + text + R"(,"properties":{"a":)" + text + "}}");
  REQUIRE(checked.ok());
  CHECK(checked->json.find("pattern") == checked->json.rfind("pattern"));
  CHECK(checked->unenforced.empty());
}

TEST_CASE("a long pointer leaves room for what is wrong") {
  std::string schema = R"({"type":"nonsense"})";
  for (int i = 0; i < 50; ++i) {
    schema = R"({"properties":{"a long name of a property":)" + schema + "}}";
  }
  const std::string message(check_schema(schema).status().message());
  CHECK(message.size() < 500);
  CHECK(message.rfind("#/properties/a long name", 0) == 0);
  CHECK(message.find("/...") != std::string::npos);
  CHECK(message.find("type") != std::string::npos);
}

TEST_CASE("every limit is named") {
  SchemaLimits limits;
  limits.nodes_max = 10;
  limits.depth_max = 4;
  limits.alternatives_max = 3;
  const auto message = [&](std::string_view schema) {
    const absl::Status status = check_schema(schema, limits).status();
    CHECK(absl::IsOutOfRange(status));
    return std::string(status.message());
  };
  CHECK(message(R"({"maxLength":1000000})") == "#: `maxLength` is more than 2000");
  CHECK(message(R"({"items":{"maxItems":2001}})") == "#/items: `maxItems` is more than 2000");
  CHECK(message(R"({"pattern":"a{1,100000}"})") == "#: `pattern`: a repetition is longer than 128");
  limits.expression_size_max = 1000;
  CHECK(message(R"({"items":{"pattern":"^(a{100}){11}$"}})") ==
        "#/items: patterns, formats and names beside additional properties are longer than 1000 together");
  CHECK(message(R"({"items":{"pattern":"^[a-z]{101}$"}})").find("together") != std::string::npos);
  limits.optional_squares_max = 8;
  CHECK(message(R"({"properties":{"a":{"properties":{"a":{},"b":{}}},"b":{},"c":{}}})").find("not `required`") !=
        std::string::npos);
  CHECK(check_schema(R"({"properties":{"a":{},"b":{}}})", limits).ok());
  CHECK(message(R"({"enum":[1,2,3,4]})") == "#: `enum` has more than 3 values");
  CHECK(message(R"({"oneOf":[{},{},{},{}]})") == "#: `oneOf` has more than 3 branches");
  CHECK(message(R"({"anyOf":[{"enum":[1,2,3]},{"enum":[1,2,3]},{"enum":[1,2,3]}]})") ==
        "#/anyOf/2: the schema has more than 10 schemas and values");
  CHECK(message(std::string(1000, '[')) == "the schema is nested deeper than 4");
  std::string deep = "{}";
  for (int i = 0; i < 5; ++i) {
    deep = R"({"items":)" + deep + "}";
  }
  limits.depth_max = 2;
  CHECK(message(deep).find("schemas are nested deeper than 2") != std::string::npos);
  limits = SchemaLimits{};
  CHECK(message(R"({"properties":{"a":{},")" + std::string(400, 'n') + R"(":{}},"additionalProperties":true})")
            .find("together") != std::string::npos);
  limits.bytes_max = 10;
  CHECK(message(R"({"type":"object"})") == "the schema has more than 10 bytes");
}

}  // namespace
}  // namespace coppice::text
