// Tools, choices among them, and how much to think.
#include "proto/openai/parse_tools.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "proto/openai/parse_request.h"

namespace coppice::openai {
namespace {

Result<GenerationRequest> parse(const std::string& fields) {
  return parse_chat_request(R"({"messages":[{"role":"user","content":"hi"}],)" + fields + "}", {});
}

ChatFields chat_of(const std::string& fields) {
  const auto parsed = parse(fields);
  INFO(fields << (parsed.ok() ? "" : parsed.error().message));
  REQUIRE(parsed.ok());
  return parsed.value().chat;
}

const std::string kTools = R"("tools":[{"type":"function","function":{"name":"f"}},{"function":{"name":"g"}}],)";

TEST_CASE("tool choices: what the answer may, must and must not call") {
  CHECK(chat_of(kTools + R"("n":1)").tool_choice == ToolChoice::kAuto);
  CHECK(chat_of(kTools + R"("tool_choice":"required")").tool_choice == ToolChoice::kRequired);
  const ChatFields named = chat_of(kTools + R"("tool_choice":{"type":"function","function":{"name":"g"}})");
  CHECK(named.tool_choice == ToolChoice::kNamed);
  CHECK(named.called_tool == "g");
  CHECK(named.tools->size() == 2);
  const ChatFields allowed =
      chat_of(kTools + R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[
      {"type":"function","function":{"name":"g"}}]}},"parallel_tool_calls":false)");
  CHECK(allowed.tool_choice == ToolChoice::kRequired);
  CHECK(allowed.tools->size() == 1);
  CHECK_FALSE(allowed.parallel_tool_calls);
}

TEST_CASE("names of tools are what every format of calls can carry, each once") {
  const auto tool = [](const std::string& name) {
    return R"({"type":"function","function":{"name":")" + name + "\"}}";
  };
  for (const std::string& name : {std::string("get_weather-2"), std::string("mcp.server:files/read"),
                                  std::string("\xC3\xA9t\xC3\xA9"), std::string(128, 'x')}) {
    INFO(name);
    CHECK(parse("\"tools\":[" + tool(name) + "]").ok());
  }
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\\n"), std::string("a\\u0000"), std::string("f("),
        std::string("f>"), std::string("f=g"), std::string("[f]"), std::string("{f}"), std::string("f\\\"g"),
        std::string("f'g"), std::string("<f"), std::string(129, 'x')}) {
    INFO(name);
    const auto refused = parse("\"tools\":[" + tool("g") + "," + tool(name) + "]");
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().param == "tools");
    CHECK(refused.error().message.find("names have 1 to 128") != std::string::npos);
    CHECK_FALSE(parse("\"tool_choice\":\"none\",\"tools\":[" + tool(name) + "]").ok());
  }
  const auto twice = parse("\"tools\":[" + tool("f") + "," + tool("g") + "," + tool("f") + "]");
  REQUIRE_FALSE(twice.ok());
  CHECK(twice.error().message == "two of 'tools' are named \"f\"");
  const auto functions = parse(R"("functions":[{"name":"f"},{"name":"f"}])");
  REQUIRE_FALSE(functions.ok());
  CHECK(functions.error().param == "functions");
}

TEST_CASE("functions are tools by their older name, and so are calls of them in the conversation") {
  const ChatFields chat = chat_of(R"("functions":[{"name":"f","parameters":{"type":"object"}}])");
  CHECK(chat.tools->dump() == R"([{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}])");
  CHECK(chat.has_functions);
  CHECK_FALSE(chat.parallel_tool_calls);
  const ChatFields named = chat_of(R"("functions":[{"name":"f"}],"function_call":{"name":"f"})");
  CHECK(named.tool_choice == ToolChoice::kNamed);
  CHECK(chat_of(R"("functions":[{"name":"f"}],"function_call":"none")").tools == nullptr);
  const auto history = parse_chat_request(
      R"({"messages":[{"role":"user","content":"x"},
          {"role":"assistant","function_call":{"name":"f","arguments":"{}"}}]})",
      {});
  REQUIRE(history.ok());
  CHECK((*history.value().chat.messages)[1]["tool_calls"].dump() ==
        R"([{"type":"function","function":{"name":"f","arguments":"{}"}}])");
}

TEST_CASE("reasoning: effort for the template, a budget by either name") {
  const ChatFields chat = chat_of(R"("reasoning_effort":"low","chat_template_kwargs":{"a":1},"thinking_budget":7)");
  CHECK(chat.template_kwargs->dump() == R"({"a":1,"reasoning_effort":"low"})");
  CHECK(chat.thinking_budget == 7);
  CHECK(chat_of(R"("reasoning_effort":"none")").template_kwargs->dump() == R"({"enable_thinking":false})");
  CHECK(chat_of(R"("thinking_token_budget":0)").thinking_budget == 0);
}

TEST_CASE("wrong choices are refused by name") {
  struct Row {
    std::string fields;
    std::string param;
    std::string message;  // part of it
  };
  const Row rows[] = {
      {R"("tool_choice":"required")", "tool_choice", "no 'tools' to call"},
      {kTools + R"("tool_choice":{"type":"function","function":{"name":"h"}})", "tool_choice",
       "names \"h\", which is not one of 'tools'"},
      {R"("tool_choice":"must")", "tool_choice", "\"required\""},
      {R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[]}})", "tool_choice",
       "allowed tools with a 'mode'"},
      {R"("functions":[{"name":"f"}],"function_call":{"name":"g"})", "tool_choice", "names \"g\""},
      {R"("functions":[{"name":"f"}],"function_call":"must")", "function_call", "\"auto\", \"none\""},
      {R"("function_call":{"name":"f"})", "function_call", "there are none"},
      {R"("reasoning_effort":"hard")", "reasoning_effort", "\"minimal\""},
      {R"("thinking_budget":-1)", "thinking_budget", "at least 0"},
  };
  for (const Row& row : rows) {
    INFO(row.fields);
    const auto parsed = parse(row.fields);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().param == row.param);
    CHECK(parsed.error().message.find(row.message) != std::string::npos);
  }
}

}  // namespace
}  // namespace coppice::openai
