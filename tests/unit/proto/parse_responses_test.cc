// Bodies of /v1/responses: the conversation that chat would have had, and what is said about the rest.
#include "proto/openai/parse_responses.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "proto/openai/parse_request.h"
#include "proto/openai/response_items.h"

namespace coppice::openai {
namespace {

RequestLimits limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  limits.text_bytes_max = 10'000;
  limits.messages_max = 8;
  return limits;
}

Result<ResponsesRequest> read(const std::string& body, const std::vector<Json>& history = {}) {
  return read_responses_request(Json::parse(body), history, limits());
}

ResponsesRequest parsed(const std::string& body, const std::vector<Json>& history = {}) {
  Result<ResponsesRequest> result = read(body, history);
  if (!result.ok()) {
    FAIL(body << ": " << result.error().message);
  }
  return std::move(result.value());
}

ApiError refused(const std::string& body) {
  const Result<ResponsesRequest> result = read(body);
  REQUIRE_FALSE(result.ok());
  return result.error();
}

std::string echo_of(const ResponsesRequest& request, const std::string& name) {
  for (const auto& [key, json] : request.echo) {
    if (key == name) {
      return json;
    }
  }
  return "absent";
}

// A conversation in both forms. The texts of chat are bodies of /v1/chat/completions.
struct SameRow {
  const char* responses;
  const char* chat;
};
const SameRow kSame[] = {
    {R"({"input":"hi"})", R"({"messages":[{"role":"user","content":"hi"}]})"},
    {R"({"instructions":"be kind","input":"hi"})",
     R"({"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"}]})"},
    {R"({"input":[{"role":"system","content":"s"},{"type":"message","role":"user","content":[
         {"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]}]})",
     R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":[
         {"type":"text","text":"a"},{"type":"text","text":"b"}]}]})"},
    {R"({"input":[{"role":"user","content":"q"},
         {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"zz"},
         {"type":"message","role":"assistant","content":[{"type":"output_text","text":"let me see"}]},
         {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}"},
         {"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
         {"type":"function_call_output","call_id":"c1","output":"one"},
         {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"}]}]})",
     R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"let me see","tool_calls":[
         {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},
         {"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},
         {"role":"tool","tool_call_id":"c1","content":"one"},{"role":"tool","tool_call_id":"c2","content":"two"}]})"},
    {R"({"input":[{"role":"user","content":"q"},
         {"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
         {"role":"assistant","content":"a"},{"role":"user","content":"q2"}]})",
     R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","reasoning_content":"hm"},
         {"role":"user","content":"q2"}]})"},
};

TEST_CASE("a conversation is the one that chat would have had") {
  for (const SameRow& row : kSame) {
    INFO(row.responses);
    const Result<GenerationRequest> chat = parse_chat_request(row.chat, limits());
    REQUIRE(chat.ok());
    CHECK(parsed(row.responses).generation.chat.messages->dump() == chat.value().chat.messages->dump());
  }
}

TEST_CASE("function tools are shown as chat shows them; other kinds are skipped and named") {
  const ResponsesRequest request =
      parsed(R"({"input":"x","tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object"}},)"
             R"({"type":"web_search"},{"type":"namespace","name":"n","tools":[]},{"type":"custom","name":"c"}]})");
  CHECK(request.generation.chat.tools->dump() ==
        R"([{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}])");
  CHECK(request.generation.chat.has_tools);
  CHECK(request.generation.ignored.header() == "tools.web_search, tools.namespace, tools.custom");
  CHECK(Json::parse(echo_of(request, "tools"))[0]["strict"].is_null());
  CHECK(Json::parse(echo_of(request, "tools")).size() == 4);
  CHECK_FALSE(parsed(R"({"input":"x","tools":[{"type":"web_search"}]})").generation.chat.has_tools);
  CHECK_FALSE(parsed(R"({"input":"x","tool_choice":"none","tools":[{"type":"function","name":"f"}]})")
                  .generation.chat.has_tools);
}

TEST_CASE("allowed tools are the tools; a call may be demanded") {
  const std::string tools = R"("tools":[{"type":"function","name":"f"},{"type":"function","name":"g"}])";
  const ResponsesRequest request =
      parsed(R"({"input":"x",)" + tools +
             R"(,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"}]}})");
  REQUIRE(request.generation.chat.tools->size() == 1);
  CHECK((*request.generation.chat.tools)[0]["function"]["name"] == "g");
  const ResponsesRequest named =
      parsed(R"({"input":"x",)" + tools + R"(,"tool_choice":{"type":"function","name":"f"}})");
  CHECK(named.generation.chat.tool_choice == ToolChoice::kNamed);
  CHECK(named.generation.chat.called_tool == "f");
  CHECK(parsed(R"({"input":"x",)" + tools + R"(,"tool_choice":"required"})").generation.chat.tool_choice ==
        ToolChoice::kRequired);
  for (const char* const choice : {R"({"type":"web_search"})", R"({"type":"function","name":"h"})",
                                   R"({"type":"allowed_tools","mode":"required","tools":[]})", "1", "[]"}) {
    const ApiError error = refused(R"({"input":"x",)" + tools + R"(,"tool_choice":)" + choice + "}");
    CHECK(error.param == "tool_choice");
  }
}

TEST_CASE("fields without effect are named, others are repeated or refused") {
  const ResponsesRequest request = parsed(
      R"({"input":"x","metadata":{"a":"b"},"truncation":"auto","parallel_tool_calls":false,"service_tier":"flex",)"
      R"("include":["reasoning.encrypted_content"],"text":{"format":{"type":"text"},"verbosity":"low"},)"
      R"("reasoning":{"effort":"low","summary":"auto"},"prompt_cache_key":"k","user":"u","unknown":1,)"
      R"("stream_options":{"include_obfuscation":false},"max_tool_calls":null})");
  CHECK(request.generation.ignored.header() ==
        "truncation, include.reasoning.encrypted_content, text.verbosity, "
        "reasoning.summary, unknown, user");
  CHECK(request.generation.service_tier == ServiceTier::kFlex);
  CHECK(echo_of(request, "service_tier") == R"("flex")");
  CHECK(echo_of(request, "metadata") == R"({"a":"b"})");
  CHECK(echo_of(request, "prompt_cache_key") == R"("k")");
  CHECK(echo_of(request, "reasoning") == R"({"effort":"low","summary":null})");
  CHECK(request.generation.chat.template_kwargs->dump() == R"({"reasoning_effort":"low"})");
  CHECK(parsed(R"({"input":"x","reasoning":{"effort":"none"}})").generation.chat.template_kwargs->dump() ==
        R"({"enable_thinking":false})");
  CHECK(parsed(R"({"input":"x","truncation":"disabled","service_tier":"auto","parallel_tool_calls":true})")
            .generation.ignored.empty());
  for (const char* const field : {R"("conversation":"c")", R"("prompt":{"id":"p"})"}) {
    INFO(field);
    CHECK(refused(std::string(R"({"input":"x",)") + field + "}").code == "not_supported");
  }
}

TEST_CASE("items of unknown kinds are skipped, references are refused") {
  const ResponsesRequest request = parsed(
      R"({"input":[{"role":"user","content":"a"},{"type":"web_search_call","id":"w"},{"type":"custom_tool_call",)"
      R"("call_id":"c","name":"sh","input":"ls"},{"type":"custom_tool_call_output","call_id":"c","output":"o"}]})");
  CHECK(request.generation.ignored.header() == "input.web_search_call");
  const Json& messages = *request.generation.chat.messages;
  REQUIRE(messages.size() == 3);
  CHECK(messages[1]["tool_calls"][0]["function"]["arguments"]["input"] == "ls");
  CHECK(refused(R"({"input":[{"type":"item_reference","id":"msg_1"}]})").param == "input[0]");
  CHECK(refused(R"({"input":[{"id":"msg_1"}]})").param == "input[0]");
}

TEST_CASE("a history stands before the input; instructions before both") {
  const std::vector<Json> history = {
      Json::parse(R"([{"role":"user","content":"a"}])"),
      Json::parse(R"([{"type":"message","role":"assistant","id":"m","status":"completed",)"
                  R"("content":[{"type":"output_text","text":"b"}]}])")};
  const ResponsesRequest request =
      parsed(R"({"instructions":"i","previous_response_id":"resp_1","input":"c"})", history);
  CHECK(request.generation.chat.messages->dump() ==
        R"([{"role":"system","content":"i"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},)"
        R"({"role":"user","content":"c"}])");
  CHECK(request.previous_id == "resp_1");
  CHECK(request.input == R"([{"type":"message","role":"user","content":"c"}])");
  CHECK(parsed(R"({"input":"c","store":false})").input.empty());
  std::vector<Json> long_history(8, history[0]);
  const Result<ResponsesRequest> too_long = read(R"({"input":"c"})", long_history);
  REQUIRE_FALSE(too_long.ok());
  CHECK(too_long.error().param == "input");
}

TEST_CASE("tokens: as many as the context holds, never fewer than one") {
  const ResponsesRequest request = parsed(R"({"input":"x","max_output_tokens":100000,"temperature":0.5,"seed":3})");
  CHECK(request.generation.sampling.max_tokens == 100000);
  CHECK(request.generation.cuts_max_tokens);
  CHECK(request.generation.sampling.seed == 3U);
  CHECK(refused(R"({"input":"x","max_output_tokens":0})").param == "max_output_tokens");
  CHECK(refused(R"({"input":"x","temperature":-1})").param == "temperature");
}

TEST_CASE("logprobs come with either of their two fields") {
  CHECK_FALSE(parsed(R"({"input":"x","top_logprobs":0})").generation.top_logprobs.has_value());
  CHECK(parsed(R"({"input":"x","top_logprobs":2})").generation.top_logprobs == 2);
  CHECK(parsed(R"({"input":"x","include":["message.output_text.logprobs"]})").generation.top_logprobs == 0);
}

TEST_CASE("marks on input parts are breakpoints of half an hour") {
  const ResponsesRequest request = parsed(
      R"({"instructions":"ii","input":[{"role":"developer","content":[{"type":"input_text","text":"ab",)"
      R"("prompt_cache_breakpoint":{"mode":"explicit"}},{"type":"input_text","text":"cd"}]},{"role":"user","content":[)"
      R"({"type":"input_text","text":"q","prompt_cache_breakpoint":{"mode":"explicit"}}]}]})");
  CHECK((*request.generation.chat.messages)[0]["content"] == "ii\n\nab\ncd");
  CHECK(request.generation.cache_breakpoints ==
        CacheBreakpoints{{1, 6, std::chrono::minutes(30)},
                         {2, CacheBreakpoint::kWholeMessage, std::chrono::minutes(30)}});
}

TEST_CASE("wrong fields are named") {
  const std::pair<const char*, const char*> kRows[] = {
      {R"({})", "input"},
      {R"({"input":1})", "input"},
      {R"({"input":[]})", "input"},
      {R"({"input":[1]})", "input[0]"},
      {R"({"input":[{"type":1}]})", "input[0].type"},
      {R"({"input":[{"role":"","content":"x"}]})", "input[0].role"},
      {R"({"input":[{"role":"user"}]})", "input[0].content"},
      {R"({"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]})", "input[0].content"},
      {R"({"input":[{"role":"user","content":[{"type":"input_text"}]}]})", "input[0].content"},
      {R"({"input":[{"type":"function_call","call_id":"c","arguments":"{}"}]})", "input[0].name"},
      {R"({"input":[{"type":"function_call","name":"f","arguments":"{}"}]})", "input[0].call_id"},
      {R"({"input":[{"type":"function_call","call_id":"c","name":"f","arguments":{}}]})", "input[0].arguments"},
      {R"({"input":[{"type":"function_call_output","call_id":"c"}]})", "input[0].output"},
      {R"({"input":"x","instructions":1})", "instructions"},
      {R"({"input":"x","previous_response_id":1})", "previous_response_id"},
      {R"({"input":"x","tools":{}})", "tools"},
      {R"({"input":"x","tools":[1]})", "tools[0]"},
      {R"({"input":"x","tools":[{"type":"function"}]})", "tools[0].name"},
      {R"({"input":"x","include":"a"})", "include"},
      {R"({"input":"x","include":[1]})", "include"},
      {R"({"input":"x","metadata":[]})", "metadata"},
      {R"({"input":"x","metadata":{"a":1}})", "metadata"},
      {R"({"input":"x","text":1})", "text"},
      {R"({"input":"x","text":{"format":1}})", "text.format"},
      {R"({"input":"x","reasoning":1})", "reasoning"},
      {R"({"input":"x","reasoning":{"effort":1}})", "reasoning.effort"},
      {R"({"input":"x","store":1})", "store"},
      {R"({"input":"x","background":true,"store":false})", "background"},
      {R"({"input":"x","background":true,"stream":true})", "background"},
      {R"({"input":"x","top_logprobs":21})", "top_logprobs"},
      {R"({"input":"x","stop":1})", "stop"},
      {R"({"input":"x","stream_options":1})", "stream_options"},
  };
  for (const auto& [body, param] : kRows) {
    INFO(body);
    const ApiError error = refused(body);
    CHECK(error.param == param);
    CHECK(error.status == 400);
  }
  CHECK(refused(R"({"input":")" + std::string(20'000, 'x') + R"("})").status == 400);  // of the context
  CHECK(refused(R"({"input":")" + std::string(20'000, 'x') + R"("})").param == "input");
}

TEST_CASE("integers beyond 64 bits keep their digits in what is repeated and stored") {
  Result<Json> body = parse_json(
      R"({"input":[{"role":"user","content":"x","seen":123456789012345678901234}],"tools":[{"type":"function","name":"f",)"
      R"("parameters":{"maximum":[1,-99999999999999999999]}}]})",
      limits());
  REQUIRE(body.ok());
  const Result<ResponsesRequest> read = read_responses_request(std::move(body.value()), {}, limits());
  REQUIRE(read.ok());
  CHECK(read.value().input == R"([{"role":"user","content":"x","seen":123456789012345678901234}])");
  CHECK(echo_of(read.value(), "tools") ==
        R"([{"type":"function","name":"f","parameters":{"maximum":[1,-99999999999999999999]},"strict":null}])");
}

TEST_CASE("items are listed with ids, types and parts") {
  const Json message = listed_item(Json::parse(R"({"role":"user","content":"hi"})"), "resp_ab", 3);
  CHECK(message.dump() == R"({"id":"msg_ab_3","type":"message","role":"user","content":)"
                          R"([{"type":"input_text","text":"hi"}],"status":"completed"})");
  CHECK(listed_item(Json::parse(R"({"role":"assistant","content":"x"})"), "resp_ab", 0)["content"][0].dump() ==
        R"({"type":"output_text","text":"x","annotations":[],"logprobs":[]})");
  CHECK(listed_item(Json::parse(R"({"type":"function_call","call_id":"c","id":null})"), "resp_ab", 1)["id"] ==
        "fc_ab_1");
  CHECK(listed_item(Json::parse(R"({"type":"reasoning","id":"rs_x"})"), "resp_ab", 1)["id"] == "rs_x");
}

}  // namespace
}  // namespace coppice::openai
