// Arguments that are not written as one JSON object: what their schemas allow, and what is said of what is not
// enforced.
#include "server/output/argument_grammar.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <string>
#include <vector>

#include "tests/support/sanitized.h"
#include "tests/unit/server/output/held_calls.h"

namespace coppice::server {
namespace {

using openai::Json;
using openai::ToolChoice;

// One tool f.
struct CallsOfOne : HeldCalls {
  CallsOfOne(std::string_view format, const std::string& parameters, bool is_strict) : HeldCalls(format, false) {
    Json tools = Json::parse(R"([{"type":"function","function":{"name":"f"}}])");
    tools[0]["function"]["strict"] = is_strict;
    tools[0]["function"]["parameters"] = Json::parse(parameters);
    request.chat.tools = std::make_shared<const Json>(tools);
    request.chat.tool_choice = ToolChoice::kNamed;
    request.chat.called_tool = std::string("f");
  }
};

// A call of f with the arguments as the format has them.
std::string call_of(std::string_view format, const std::vector<std::pair<std::string, std::string>>& arguments) {
  const bool is_python = format == "pythonic";
  std::string text = is_python ? "[f(" : "<tool_call>\n<function=f>";
  for (const auto& [name, value] : arguments) {
    text += is_python ? fmt::format("{}{}={}", text.ends_with('(') ? "" : ", ", name, value)
                      : fmt::format("\n<parameter={}>\n{}\n</parameter>", name, value);
  }
  return text + (is_python ? ")]" : "\n</function>\n</tool_call>");
}

std::string refusal(std::string_view format, const std::string& parameters) {
  const CallsOfOne calls(format, parameters, true);
  const openai::Result<CallGrammar> refused = call_grammar(calls.rules, calls.request.chat);
  return refused.ok() ? std::string() : fmt::format("{} {}", refused.error().param, refused.error().message);
}

// "pointer keyword, …" of a tool that is not strict.
std::string unenforced(std::string_view format, const std::string& parameters) {
  const CallsOfOne calls(format, parameters, false);
  const openai::Result<CallGrammar> grammar = call_grammar(calls.rules, calls.request.chat);
  REQUIRE(grammar.ok());
  std::string text;
  for (const text::UnenforcedKeyword& keyword : grammar.value().unenforced) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", keyword.pointer, keyword.keyword);
  }
  CHECK(calls.compiler->compile({text::GrammarKind::kStructuralTag, grammar.value().tag}).ok());
  return text;
}

struct Case {
  std::string parameters;
  std::vector<std::pair<std::string, std::string>> right;
  std::vector<std::pair<std::string, std::string>> wrong;
  std::string read;  // what the parser makes of the right ones; "": whatever is JSON
};

void check_cases(std::string_view format, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    INFO(format << " " << one.parameters);
    const CallsOfOne calls(format, one.parameters, true);
    const text::CompiledGrammar grammar = calls.compile();
    const std::string right = call_of(format, one.right);
    CHECK(calls.accepts(grammar, right));
    CHECK_FALSE(calls.accepts(grammar, call_of(format, one.wrong)));
    const HeldCalls::Parsed read = calls.parse(calls.encode(right));
    REQUIRE(read.calls.size() == 1);
    CHECK(Json::parse(read.calls[0].second) == Json::parse(one.read));
  }
}

TEST_CASE("in Python's and XML's form: names that must come, references from anywhere to anywhere") {
  const std::string undeclared = R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a","b"],
    "additionalProperties":{"type":"integer"}})";
  const std::string behind = R"({"$ref":"#/$defs/All","$defs":{"All":{"type":"object","properties":{
    "a":{"$ref":"#/$defs/All/properties/b"},"b":{"type":"integer"}},"required":["a"],"additionalProperties":false}}})";
  const std::string itself = R"({"type":"object","properties":{"a":{"type":"integer"},
    "b":{"type":"array","items":{"$ref":"#"}}},"required":["a"],"additionalProperties":false})";
  const std::vector<Case> cases = {
      {undeclared, {{"a", "1"}, {"b", "2"}}, {{"a", "1"}}, R"({"a":1,"b":2})"},
      {behind, {{"a", "1"}, {"b", "2"}}, {{"b", "2"}}, R"({"a":1,"b":2})"},
      {itself, {{"a", "1"}, {"b", R"([{"a": 2}])"}}, {{"a", "1"}, {"b", R"([{"b": []}])"}}, R"({"a":1,"b":[{"a":2}]})"},
  };
  check_cases("pythonic", cases);
  check_cases("qwen3_coder", cases);
  // Arguments of any name: in XML's form they are texts.
  check_cases("pythonic", {{R"({"type":"object"})", {{"a", "12"}, {"b", "[]"}}, {{"a b", "1"}}, R"({"a":12,"b":[]})"}});
  check_cases("qwen3_coder", {{R"({"type":"object"})", {{"a", "12"}}, {{"a b", "1"}}, R"({"a":"12"})"}});
  const std::string numbers = R"({"type":"object","additionalProperties":{"type":"integer"}})";
  check_cases("pythonic", {{numbers, {{"a", "12"}}, {{"a", "[]"}}, R"({"a":12})"}});
  check_cases("qwen3_coder", {{numbers, {{"a", "12"}}, {{"a", "x"}}, R"({"a":12})"}});
}

TEST_CASE("in XML's form: alternatives of texts and other values") {
  const auto one = [](const std::string& schema) {
    return fmt::format(R"({{"type":"object","properties":{{"a":{}}},"required":["a"],"additionalProperties":false,
      "$defs":{{"E":{{"enum":["x","y"]}}}}}})",
                       schema);
  };
  check_cases(
      "qwen3_coder",
      {{one(R"({"anyOf":[{"enum":["x","y"]},{"type":"null"}]})"), {{"a", "y"}}, {{"a", "z"}}, R"({"a":"y"})"},
       {one(R"({"anyOf":[{"$ref":"#/$defs/E"},{"type":"null"}]})"), {{"a", "null"}}, {{"a", "\"x\""}}, R"({"a":null})"},
       {one(R"({"$ref":"#/$defs/E"})"), {{"a", "x"}}, {{"a", "z"}}, R"({"a":"x"})"},
       {one(R"({"type":"string","enum":["x",1]})"), {{"a", "x"}}, {{"a", "1"}}, R"({"a":"x"})"},
       {one(R"({"anyOf":[{"const":"x"},{"type":"array","items":{"$ref":"#/$defs/E"}}]})"),
        {{"a", R"(["x", "y"])"}},
        {{"a", R"(["z"])"}},
        R"({"a":["x","y"]})"},
       {one(R"({"type":["string","null"]})"), {{"a", "any </p text"}}, {}, R"({"a":"any </p text"})"},
       {one(R"({"type":"array","items":{"type":"string"}})"),
        {{"a", R"(["</x>"])"}},
        {{"a", R"(["</parameter>"])"}},
        R"({"a":["</x>"]})"}});
}

TEST_CASE("what these forms do not enforce is refused of a strict tool, and named of another") {
  struct Row {
    std::string format;
    std::string parameters;
    std::string named;
  };
  const std::string at = "#/tools/0/function/parameters";
  const std::vector<Row> rows = {
      {"qwen3_coder", R"({"properties":{"a":{"anyOf":[{"type":"string","maxLength":3},{"type":"null"}]}}})",
       at + "/properties/a maxLength"},
      {"qwen3_coder", R"({"properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer","minimum":3}]}}})",
       at + "/properties/a minimum"},
      {"qwen3_coder", R"({"properties":{"a":{"enum":["null",null]}}})", at + "/properties/a enum"},
      {"qwen3_coder", R"({"properties":{"a<b":{"type":"integer"}}})", at + "/properties/a<b properties"},
      {"pythonic", R"({"properties":{"a b":{"type":"integer"},"c":{"type":"integer"}}})",
       at + "/properties/a b properties"},
      {"pythonic", R"({"properties":{"":{"type":"integer"}}})", at + "/properties/ properties"},
      {"pythonic", R"({"anyOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]})", at + " anyOf"},
      {"pythonic", R"({"patternProperties":{"^x":{"type":"integer"}}})", at + " patternProperties"},
      {"qwen3_coder", R"({"type":"object","maxProperties":2})", at + " maxProperties"},
      {"hermes", R"({"properties":{"a":{"not":{}}}})", at + "/properties/a not"},
      {"hermes", R"({"properties":{"a":{"type":"string","maxLength":5000}}})", at + " schema"},
  };
  for (const Row& row : rows) {
    INFO(row.format << " " << row.parameters);
    CHECK(unenforced(row.format, row.parameters) == row.named);
    CHECK(refusal(row.format, row.parameters).starts_with("tools[0].function.parameters 'tools[0]"));
  }
  CHECK(unenforced("pythonic", R"({"properties":{"größe":{"type":"integer"}}})").empty());
  // What cannot be written is left out; the rest is held.
  const CallsOfOne calls("pythonic", rows[4].parameters, false);
  const text::CompiledGrammar grammar = calls.compile();
  CHECK(calls.accepts(grammar, "[f(c=1)]"));
  CHECK_FALSE(calls.accepts(grammar, "[f(c=\"x\")]"));
}

TEST_CASE("definitions are copied for what refers to them, and only up to a limit") {
  constexpr int kProperties = 1500;
  Json parameters = {{"type", "object"}, {"properties", Json::object()}};
  parameters["$defs"]["Large"] = {{"type", "object"}, {"description", std::string(300'000, 'x')}};
  for (int i = 0; i < kProperties; ++i) {
    parameters["properties"][fmt::format("p{}", i)] = {{"type", "integer"}};
  }
  parameters["required"] = {"p0"};
  constexpr std::size_t kBytesMax = std::size_t{512} << 10;
  for (const CallShape shape : {CallShape::kPython, CallShape::kXml}) {
    const ArgumentGrammar none_refers = argument_grammar(parameters, shape, kBytesMax);
    CHECK(none_refers.unenforced.empty());
    CHECK(openai::write_json(none_refers.part).size() < kBytesMax);
    Json referring = parameters;
    for (Json& property : referring["properties"]) {
      property = {{"$ref", "#/$defs/Large"}};
    }
    const ArgumentGrammar all_refer = argument_grammar(referring, shape, kBytesMax);
    CHECK(openai::write_json(all_refer.part).size() < 1000);
    REQUIRE(all_refer.unenforced.size() == 1);
    CHECK(all_refer.unenforced[0].keyword == "properties");
  }
  // Each of these may come first: 1500 ways.
  parameters.erase("required");
  const ArgumentGrammar ways = argument_grammar(parameters, CallShape::kPython, kBytesMax);
  CHECK(openai::write_json(ways.part).size() < 1000);
  CHECK(ways.unenforced.size() == 1);
}

TEST_CASE("alternatives that lead to themselves in many ways take no time") {
  Json parameters = Json::parse(R"({"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"anyOf":[
    {"type":"integer"},{"enum":["x"]}]}}})");
  for (int i = 0; i < 8; ++i) {
    parameters["$defs"]["A"]["anyOf"].push_back({{"$ref", "#/$defs/A"}});
  }
  const ArgumentGrammar grammar = argument_grammar(parameters, CallShape::kXml, std::size_t{512} << 10);
  REQUIRE(grammar.unenforced.size() == 1);
  CHECK(grammar.unenforced[0].pointer == "#/properties/a");
}

TEST_CASE("a long list that is referred to many times is read a bounded number of times") {
  Json parameters = Json::parse(R"({"type":"object","properties":{"a":{"anyOf":[]}},"$defs":{"e":{"enum":[]}}})");
  for (int i = 0; i < 900; ++i) {
    parameters["properties"]["a"]["anyOf"].push_back({{"$ref", "#/$defs/e"}});
    parameters["$defs"]["e"]["enum"].push_back(fmt::format("v{}", i));
  }
  for (const char* const first : {"v0", "</parameter>"}) {  // the second can be no value: any is allowed
    parameters["$defs"]["e"]["enum"][0] = first;
    const std::clock_t begin = std::clock();
    const ArgumentGrammar grammar = argument_grammar(parameters, CallShape::kXml, std::size_t{512} << 10);
    constexpr double kSecondsMax = test::kIsSanitized ? 15 : 1;  // of the processor; a value at a time takes 5, or 50
    CHECK(static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC < kSecondsMax);
    CHECK(grammar.unenforced.size() == 1);
  }
}

TEST_CASE("a hundred tools of some parameters are served in every format") {
  for (const char* const format : {"hermes", "llama3_json", "pythonic", "qwen3_coder", "mistral_v3", "mistral"}) {
    HeldCalls calls(format, false);
    Json tools = Json::array();
    for (int i = 0; i < 100; ++i) {
      tools.push_back(Json::parse(R"({"type":"function","function":{"parameters":{"type":"object","properties":{
        "a":{"type":"string"},"b":{"type":"integer"},"c":{"enum":["x","y"]},"d":{"type":"boolean"}}}}})"));
      tools[i]["function"]["name"] = fmt::format("f{}", i);
    }
    calls.request.chat.tools = std::make_shared<const Json>(tools);
    calls.request.chat.tool_choice = ToolChoice::kRequired;
    const openai::Result<CallGrammar> grammar = call_grammar(calls.rules, calls.request.chat);
    REQUIRE(grammar.ok());
    const auto compiled = calls.compiler->compile({text::GrammarKind::kStructuralTag, grammar.value().tag});
    INFO(format << " " << compiled.status().ToString());
    CHECK(compiled.ok());
  }
}

TEST_CASE("tools that have many bytes together are refused before their grammar is written out") {
  for (const char* const format : {"pythonic", "mistral_v3", "hermes"}) {
    for (const ToolChoice choice : {ToolChoice::kAuto, ToolChoice::kRequired}) {
      HeldCalls calls(format, false);
      Json tools = Json::array();
      for (int i = 0; i < 400; ++i) {
        Json tool = Json::parse(R"({"type":"function","function":{"name":"","strict":true,"parameters":{
          "type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}}})");
        tool["function"]["name"] = fmt::format("f{}", i);
        tool["function"]["parameters"]["properties"]["a"]["description"] = std::string(2000, 'x');
        tools.push_back(std::move(tool));
      }
      calls.request.chat.tools = std::make_shared<const Json>(tools);
      calls.request.chat.tool_choice = choice;
      const openai::Result<CallGrammar> refused = call_grammar(calls.rules, calls.request.chat);
      REQUIRE_FALSE(refused.ok());
      CHECK(refused.error().param == "tools");
    }
  }
}

}  // namespace
}  // namespace coppice::server
