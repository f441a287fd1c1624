// Types of parameters from their schemas, and what a schema may cost.
#include "server/output/tool_set.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "proto/openai/json_reader.h"

namespace coppice::server {
namespace {

using openai::Json;

Json tool_with(const Json& parameters) {
  Json tool = Json::parse(R"({"type":"function","function":{"name":"f"}})");
  tool["function"]["parameters"] = parameters;
  return tool;
}

TEST_CASE("the types that a parameter's schema allows") {
  const Json root = Json::parse(R"({"$defs":{"a/b":{"type":"integer"},"c":{"$ref":"#/$defs/a~1b"},"$x":{"enum":[1,"a"]},
    "loop":{"$ref":"#/$defs/loop"}}})");
  const auto types = [&root](const char* schema) { return types_of_schema(Json::parse(schema), root); };
  CHECK(types(R"({"type":"string"})") == kStringType);
  CHECK(types(R"({"type":["string","null"]})") == (kStringType | kNullType));
  CHECK(types(R"({"const":true})") == kBooleanType);
  CHECK(types(R"({"enum":["a",[1]]})") == (kStringType | kArrayType));
  CHECK(types(R"({"$ref":"#/$defs/c"})") == kIntegerType);
  CHECK(types(R"({"anyOf":[{"$ref":"#/$defs/$x"},{"type":"object"}]})") == (kStringType | kIntegerType | kObjectType));
  CHECK(types(R"({"allOf":[{"type":["string","null"]},{"type":"string"}]})") == kStringType);
  for (const char* const any : {R"({})", R"({"$ref":"#/$defs/loop"})", R"({"$ref":"#/$defs/none"})", R"({"$ref":"x"})",
                                R"({"type":[]})", R"({"type":"what"})", R"({"anyOf":[]})", "true"}) {
    INFO(any);
    CHECK(types(any) == kAnyType);
  }
}

TEST_CASE("schemas with exponentially many ways through their references are any type, and soon") {
  // Eight alternatives that are the schema itself again: 8^16 ways to the depth that is looked at.
  Json again = Json::object();
  again["anyOf"] = Json::array();
  for (int i = 0; i < 8; ++i) {
    again["anyOf"].push_back({{"$ref", "#/$defs/a"}});
  }
  Json parameters = {{"type", "object"}, {"properties", Json::object()}, {"$defs", {{"a", again}}}};
  for (int i = 0; i < 1000; ++i) {
    parameters["properties"][fmt::format("p{}", i)] = {{"$ref", "#/$defs/a"}};
  }
  parameters["properties"]["text"] = {{"type", "string"}};
  Json tools = Json::array({tool_with(parameters)});
  const ToolSet set(tools);
  REQUIRE(set.find("f") != nullptr);
  CHECK(set.find("f")->types_of("p0") == kAnyType);
  CHECK(set.find("f")->types_of("p999") == kAnyType);
  CHECK(set.find("f")->types_of("text") == kAnyType);  // the request's steps are spent
  CHECK(types_of_schema(parameters["properties"]["text"], parameters) == kStringType);
}

TEST_CASE("a reference as long as a request is not followed") {
  const std::string name(400'000, 'a');
  Json root = Json::object();
  root["$defs"][name] = {{"type", "integer"}};
  CHECK(types_of_schema({{"$ref", "#/$defs/" + name}}, root) == kAnyType);
}

}  // namespace
}  // namespace coppice::server
