// Bodies of /v1/messages: the conversation that chat would have had, cache marks, and what is said about the rest.
#include "proto/anthropic/parse_messages.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "proto/anthropic/message_blocks.h"
#include "proto/openai/parse_request.h"

namespace coppice::anthropic {
namespace {

using openai::ApiError;
using openai::CacheBreakpoint;
using openai::CacheBreakpoints;
using openai::GenerationRequest;

openai::RequestLimits limits() {
  openai::RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  limits.text_bytes_max = 10'000;
  limits.messages_max = 8;
  return limits;
}

// `fields`: all but max_tokens.
openai::Result<GenerationRequest> read(const std::string& fields) {
  return read_messages_request(Json::parse(R"({"max_tokens":5,)" + fields + "}"), limits());
}

GenerationRequest parsed(const std::string& fields) {
  openai::Result<GenerationRequest> result = read(fields);
  if (!result.ok()) {
    FAIL(fields << ": " << result.error().message);
  }
  return std::move(result.value());
}

ApiError refused(const std::string& fields) {
  const openai::Result<GenerationRequest> result = read(fields);
  REQUIRE_FALSE(result.ok());
  return result.error();
}

const std::string kUser = R"("messages":[{"role":"user","content":"hi"}])";

// A conversation in both forms.
struct SameRow {
  const char* anthropic;
  const char* chat;
};
const SameRow kSame[] = {
    {R"("messages":[{"role":"user","content":"hi"}])", R"([{"role":"user","content":"hi"}])"},
    {R"("system":"s","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])",
     R"([{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},
         {"type":"text","text":"b"}]}])"},
    {R"("system":[{"type":"text","text":"s"},{"type":"text","text":"t"}],"messages":[{"role":"user","content":"a"},
         {"role":"user","content":"b"}])",
     R"([{"role":"system","content":"s\nt"},{"role":"user","content":"a\nb"}])"},
    {R"("messages":[{"role":"user","content":"q"},{"role":"assistant","content":[
         {"type":"thinking","thinking":"hm","signature":"x"},{"type":"text","text":"let me see"},
         {"type":"tool_use","id":"t1","name":"f","input":{"x":1}},{"type":"tool_use","id":"t2","name":"g"}]},
         {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"one"},
         {"type":"tool_result","tool_use_id":"t2","content":[{"type":"text","text":"two"}],"is_error":true},
         {"type":"text","text":"go on"}]}])",
     R"([{"role":"user","content":"q"},{"role":"assistant","content":"let me see","reasoning_content":"hm",
         "tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":{"x":1}}},
         {"id":"t2","type":"function","function":{"name":"g","arguments":{}}}]},
         {"role":"tool","tool_call_id":"t1","content":"one"},{"role":"tool","tool_call_id":"t2","content":"two"},
         {"role":"user","content":"go on"}])"},
    {R"("messages":[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain",
         "data":"doc"}},{"type":"text","text":"q"}]}])",
     R"([{"role":"user","content":"doc\nq"}])"},
};

TEST_CASE("a conversation is the one that chat would have had") {
  for (const SameRow& row : kSame) {
    INFO(row.anthropic);
    const openai::Result<GenerationRequest> chat =
        openai::parse_chat_request(std::string(R"({"messages":)") + row.chat + "}", limits());
    REQUIRE(chat.ok());
    const Json wanted = *chat.value().chat.messages;
    const Json got = *parsed(row.anthropic).chat.messages;
    REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      // Members may stand in another order.
      CHECK(nlohmann::json::parse(got[i].dump()) == nlohmann::json::parse(wanted[i].dump()));
    }
  }
}

TEST_CASE("the billing line that changes with every request is no part of the prompt") {
  const std::string line = "x-anthropic-billing-header: cc_version=2.1; cch=00001;";
  CHECK(without_billing_header(line).empty());
  CHECK(without_billing_header(line + "\nYou are") == "You are");
  CHECK(without_billing_header(line + "\n" + line + "\nYou are") == "You are");
  CHECK(without_billing_header("You are\n" + line) == "You are\n" + line);
  CHECK(without_billing_header("").empty());
  const std::string blocks = R"("system":[{"type":"text","text":")" + line + R"("},{"type":"text","text":"s"}],)";
  CHECK((*parsed(blocks + kUser).chat.messages)[0]["content"] == "s");
  const std::string text = R"("system":")" + line + R"(\ns",)";
  CHECK((*parsed(text + kUser).chat.messages)[0]["content"] == "s");
  CHECK(parsed(R"("system":")" + line + "\"," + kUser).chat.messages->size() == 1);
  // Elsewhere it is text like any other.
  CHECK((*parsed(R"("messages":[{"role":"user","content":")" + line + R"("}])").chat.messages)[0]["content"] == line);
}

TEST_CASE("a last message of the assistant is continued") {
  const GenerationRequest prefilled =
      parsed(R"("messages":[{"role":"user","content":"q"},{"role":"assistant","content":"The answer is"}])");
  CHECK(prefilled.chat.continue_final_message);
  CHECK_FALSE(prefilled.chat.add_generation_prompt);
  for (const std::string& fields :
       {kUser, std::string(R"("messages":[{"role":"user","content":"q"},{"role":"assistant","content":""}])"),
        std::string(R"("messages":[{"role":"assistant","content":[{"type":"text","text":"a"},)"
                    R"({"type":"tool_use","id":"t","name":"f","input":{}}]}])")}) {
    CHECK_FALSE(parsed(fields).chat.continue_final_message);
    CHECK(parsed(fields).chat.add_generation_prompt);
  }
}

TEST_CASE("cache marks: places and times") {
  using openai::kLongCacheTime;
  using openai::kShortCacheTime;
  constexpr std::size_t kWhole = CacheBreakpoint::kWholeMessage;
  const std::string mark = R"("cache_control":{"type":"ephemeral"})";
  const GenerationRequest request = parsed(
      R"("tools":[{"name":"f","input_schema":{},)" + mark + R"(}],"system":[{"type":"text","text":"ab",)" + mark +
      R"(},{"type":"text","text":"cd"}],"messages":[{"role":"user","content":[{"type":"text","text":"q",)"
      R"("cache_control":{"type":"ephemeral","ttl":"1h"}}]},{"role":"assistant","content":[{"type":"tool_use",)"
      R"("id":"t","name":"f","input":{},)" +
      mark + R"(}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"}]}])");
  CHECK(request.cache_breakpoints == CacheBreakpoints{{0, kWhole, kShortCacheTime},
                                                      {1, 2, kShortCacheTime},
                                                      {2, kWhole, kLongCacheTime},
                                                      {3, kWhole, kShortCacheTime}});
  CHECK(parsed(R"("cache_control":{"type":"ephemeral","ttl":"5m"},)" + kUser).cache_breakpoints ==
        CacheBreakpoints{{1, kWhole, kShortCacheTime}});
  CHECK(parsed(kUser).cache_breakpoints.empty());
  std::string blocks;
  for (int i = 0; i < 5; ++i) {
    blocks += i == 0 ? "" : ",";
    blocks += R"({"type":"text","text":"x",)" + mark + "}";
  }
  CHECK(refused(R"("messages":[{"role":"user","content":[)" + blocks + "]}]").param ==
        "messages[0].content[4].cache_control");
}

TEST_CASE("tools, thinking and effort reach the template; what has no effect is named") {
  const GenerationRequest request = parsed(
      R"("tools":[{"name":"f","description":"d","input_schema":{"type":"object"}},{"type":"web_search_20250305",)"
      R"("name":"web_search"},{"type":"custom","name":"g","input_schema":{}}],"tool_choice":{"type":"auto",)"
      R"("disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":1024},)"
      R"("output_config":{"effort":"low"},"metadata":{"user_id":"u"},"service_tier":"standard_only","frobnicate":1,)" +
      kUser);
  CHECK(request.chat.tools->dump() ==
        R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}},)"
        R"({"type":"function","function":{"name":"g","parameters":{}}}])");
  CHECK(request.chat.template_kwargs->dump() == R"({"enable_thinking":true,"reasoning_effort":"low"})");
  CHECK(request.user == "u");
  CHECK(request.ignored.header() == "service_tier, tools.web_search_20250305, frobnicate");
  CHECK_FALSE(request.chat.parallel_tool_calls);
  CHECK(request.chat.thinking_budget == 1024);
  const std::string tool = R"("tools":[{"name":"f","input_schema":{},"strict":true}],)";
  const GenerationRequest any = parsed(tool + R"("tool_choice":{"type":"any"},)" + kUser);
  CHECK(any.chat.tool_choice == openai::ToolChoice::kRequired);
  CHECK((*any.chat.tools)[0]["function"]["strict"] == true);
  const GenerationRequest named = parsed(tool + R"("tool_choice":{"type":"tool","name":"f"},)" + kUser);
  CHECK(named.chat.tool_choice == openai::ToolChoice::kNamed);
  CHECK(named.chat.called_tool == "f");
  CHECK(parsed(R"("thinking":{"type":"disabled"},)" + kUser).chat.template_kwargs->dump() ==
        R"({"enable_thinking":false})");
  CHECK_FALSE(
      parsed(R"("tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"none"},)" + kUser).chat.has_tools);
  CHECK(parsed(R"("messages":[{"role":"user","content":"q"},{"role":"assistant","content":[)"
               R"({"type":"server_tool_use","id":"s","name":"w","input":{}},{"type":"redacted_thinking","data":"x"},)"
               R"({"type":"text","text":"a"}]}])")
            .ignored.header() == "content.server_tool_use, content.redacted_thinking");
}

TEST_CASE("max_tokens is required, may be 0, and may be more than the context") {
  CHECK(parsed(kUser).sampling.max_tokens == 5);
  CHECK(read_messages_request(Json::parse("{" + kUser + "}"), limits()).error().param == "max_tokens");
  CHECK(read_count_request(Json::parse("{" + kUser + "}"), limits()).ok());
  CHECK(read_messages_request(Json::parse(R"({"max_tokens":0,)" + kUser + "}"), limits()).ok());
  CHECK(read_messages_request(Json::parse(R"({"max_tokens":64000,)" + kUser + "}"), limits()).ok());
  CHECK(read_messages_request(Json::parse(R"({"max_tokens":-1,)" + kUser + "}"), limits()).error().param ==
        "max_tokens");
}

TEST_CASE("wrong fields are named") {
  const std::string call = R"({"type":"tool_use","id":"t","name":"f","input":{}})";
  const std::pair<std::string, const char*> kRows[] = {
      {R"("x":1)", "messages"},
      {R"("messages":[])", "messages"},
      {R"("messages":{})", "messages"},
      {R"("messages":[1])", "messages[0]"},
      {R"("messages":[{"role":"tool","content":"x"}])", "messages[0].role"},
      {R"("messages":[{"role":"user"}])", "messages[0].content"},
      {R"("messages":[{"role":"user","content":[1]}])", "messages[0].content[0]"},
      {R"("messages":[{"role":"user","content":[{"type":"text"}]}])", "messages[0].content[0].text"},
      {R"("messages":[{"role":"user","content":[{"type":"image","source":{}}]}])", "messages[0].content[0]"},
      {R"("messages":[{"role":"user","content":[)" + call + "]}]", "messages[0].content[0]"},
      {R"("messages":[{"role":"assistant","content":[{"type":"tool_use","name":"f"}]}])", "messages[0].content[0].id"},
      {R"("messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":"x"}]}])",
       "messages[0].content[0].input"},
      {R"("messages":[{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"t"}]}])",
       "messages[0].content[0]"},
      {R"("messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[)"
       R"({"type":"image"}]}]}])",
       "messages[0].content[0].content[0]"},
      {R"("system":1,)" + kUser, "system"},
      {R"("system":[{"type":"image"}],)" + kUser, "system[0]"},
      {R"("tools":{},)" + kUser, "tools"},
      {R"("tools":[1],)" + kUser, "tools[0]"},
      {R"("tools":[{"input_schema":{}}],)" + kUser, "tools[0].name"},
      {R"("tools":[{"name":"f"}],)" + kUser, "tools[0].input_schema"},
      {R"("tool_choice":"auto",)" + kUser, "tool_choice"},
      {R"("tool_choice":{"type":"any"},)" + kUser, "tool_choice"},
      {R"("tool_choice":{"type":"tool","name":"f"},)" + kUser, "tool_choice"},
      {R"("thinking":1,)" + kUser, "thinking"},
      {R"("thinking":{},)" + kUser, "thinking.type"},
      {R"("output_config":{"format":{"type":"json_schema"}},)" + kUser, "output_config.format.schema"},
      {R"("cache_control":1,)" + kUser, "cache_control"},
      {R"("system":[{"type":"text","text":"","cache_control":{}}],)" + kUser, "system[0].cache_control"},
      {R"("cache_control":{"type":"ephemeral","ttl":"2h"},)" + kUser, "cache_control.ttl"},
      {R"("stop_sequences":"x",)" + kUser, "stop_sequences"},
      {R"("stop_sequences":[""],)" + kUser, "stop_sequences"},
      {R"("metadata":1,)" + kUser, "metadata"},
      {R"("metadata":{"user_id":1},)" + kUser, "metadata.user_id"},
      {R"("container":"c",)" + kUser, "container"},
      {R"("temperature":-1,)" + kUser, "temperature"},
  };
  for (const auto& [fields, param] : kRows) {
    INFO(fields);
    CHECK(refused(fields).param == param);
    CHECK(refused(fields).status == 400);
  }
}

}  // namespace
}  // namespace coppice::anthropic
