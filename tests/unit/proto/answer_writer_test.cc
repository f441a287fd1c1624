// Golden texts of every object the server writes.
#include "proto/openai/answer_writer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/api_error.h"
#include "proto/openai/write_objects.h"

namespace coppice::openai {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kCompletionHead =
    R"({"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"m",)";
constexpr const char* kChatHead = R"({"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m",)";
constexpr const char* kChunkHead =
    R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",)";

std::unique_ptr<AnswerWriter> writer_of(const GenerationRequest& request) {
  return make_answer_writer(request, {"1", 1700000000, "m"});
}

GenerationRequest request_of(RequestKind kind) {
  GenerationRequest request;
  request.kind = kind;
  return request;
}

TokenEntry entry(TokenId token, float logprob, std::string bytes, std::int64_t offset) {
  TokenEntry out;
  out.token = token;
  out.logprob = logprob;
  out.bytes = std::move(bytes);
  out.text_offset = offset;
  return out;
}

constexpr const char* kUsage =
    R"("usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":4,)"
    R"("cache_write_tokens":6},)"
    R"("completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":2,)"
    R"("rejected_prediction_tokens":1}},"speculation":{"drafted_tokens":9,"accepted_tokens":7})";

Answer answer_of(std::vector<OutputItem> items) {
  Answer answer;
  answer.choices.push_back({0, std::move(items), {}});
  answer.usage = {5, 3, 4, 2, 1, 6};
  answer.speculation = {9, 7};
  return answer;
}

Json choice_of(const GenerationRequest& request, const Answer& answer) {
  return Json::parse(writer_of(request)->whole(answer))["choices"][0];
}

// The events of one delta.
std::string events_of(AnswerWriter& writer, const ChoiceDelta& delta) {
  std::string out;
  writer.append_delta(delta, out);
  return out;
}

TEST_CASE("a completion") {
  const Answer answer = answer_of({TextDelta{" \"x\""}, Finish{FinishReason::kLength}});
  CHECK(writer_of(request_of(RequestKind::kCompletion))->whole(answer) ==
        std::string(kCompletionHead) +
            R"("choices":[{"index":0,"text":" \"x\"","logprobs":null,"finish_reason":"length","stop_reason":null}],)" +
            kUsage + "}");
}

TEST_CASE("a completion with logprobs, an echoed first token and half a character") {
  GenerationRequest request = request_of(RequestKind::kCompletion);
  request.top_logprobs = 1;
  TokenEntry first = entry(1, 0, "a", 0);
  first.logprob.reset();
  TextDelta text{"ab", {first, entry(2, -0.5F, "b", 1), entry(3, -1.25F, "\xC3", 2)}};
  text.tokens[1].top = {{7, -0.25F, "c"}, {2, -0.5F, "b"}};
  text.tokens[2].top = {{8, -0.75F, "d"}};
  const Json choice = choice_of(request, answer_of({text, Finish{FinishReason::kStop, std::string("##")}}));
  CHECK(choice["stop_reason"] == "##");
  CHECK(choice["logprobs"].dump() ==
        R"({"text_offset":[0,1,2],"token_logprobs":[null,-0.5,-1.25],"tokens":["a","b","bytes:\\xc3"],)"
        R"("top_logprobs":[null,{"c":-0.25,"b":-0.5},{"d":-0.75,"bytes:\\xc3":-1.25}]})");
}

TEST_CASE("a chat") {
  const Answer answer = answer_of({TextDelta{"hi"}, Finish{FinishReason::kStop, TokenId{9}}});
  CHECK(writer_of(request_of(RequestKind::kChat))->whole(answer) ==
        std::string(kChatHead) +
            R"("choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,)"
            R"("finish_reason":"stop","stop_reason":9}],)" +
            kUsage + "}");
}

TEST_CASE("a chat with logprobs and token ids") {
  GenerationRequest request = request_of(RequestKind::kChat);
  request.top_logprobs = 1;
  request.return_token_ids = true;
  TextDelta text{"\xC3\xA9", {entry(3, -0.5F, "\xC3\xA9", 0)}};
  text.tokens[0].top = {{4, -0.25F, "e"}};
  Answer answer = answer_of({text, Finish{}});
  answer.choices[0].token_ids = {3, 1};
  const Json choice = choice_of(request, answer);
  CHECK(choice["token_ids"].dump() == "[3,1]");
  CHECK(choice["logprobs"].dump() ==
        "{\"content\":[{\"token\":\"\xC3\xA9\",\"logprob\":-0.5,\"bytes\":[195,169],\"top_logprobs\":"
        "[{\"token\":\"e\",\"logprob\":-0.25,\"bytes\":[101]}]}],\"refusal\":null}");
}

TEST_CASE("a chat that calls tools") {
  GenerationRequest request = request_of(RequestKind::kChat);
  request.top_logprobs = 0;
  const Answer answer =
      answer_of({ToolCallBegin{0, "call_1", "f", {entry(3, -0.5F, "{", 0)}}, ToolArgumentsDelta{0, R"({"x":)"},
                 ToolArgumentsDelta{0, "1}"}, ToolCallBegin{1, "call_2", "g", {entry(4, -0.5F, "}", 1)}},
                 ToolArgumentsDelta{1, "{}"}, Finish{FinishReason::kToolCalls}});
  const Json choice = choice_of(request, answer);
  CHECK(choice["finish_reason"] == "tool_calls");
  CHECK(choice["message"].dump() ==
        R"({"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_1","type":"function",)"
        R"("function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"call_2","type":"function",)"
        R"("function":{"name":"g","arguments":"{}"}}]})");
  CHECK(choice["logprobs"]["content"].size() == 2);
}

TEST_CASE("reasoning: a field of its own in a chat, text in a completion") {
  const Answer answer = answer_of({ReasoningDelta{"hm"}, TextDelta{"yes"}, Finish{}});
  CHECK(choice_of(request_of(RequestKind::kChat), answer)["message"].dump() ==
        R"({"role":"assistant","content":"yes","refusal":null,"reasoning_content":"hm","reasoning":"hm"})");
  CHECK(choice_of(request_of(RequestKind::kCompletion), answer)["text"] == "hmyes");
}

TEST_CASE("prompt logprobs") {
  Answer answer = answer_of({});
  TokenEntry first = entry(1, 0, "<s>", 0);
  first.logprob.reset();
  answer.prompt_scores = {{first, entry(2, -0.5F, "a", 0)}};
  answer.prompt_scores[0][1].top = {{3, -0.25F, "b"}};
  const std::string expected =
      R"([null,{"2":{"logprob":-0.5,"decoded_token":"a"},"3":{"logprob":-0.25,"decoded_token":"b"}}])";
  CHECK(choice_of(request_of(RequestKind::kCompletion), answer)["prompt_logprobs"].dump() == expected);
  const Json chat = Json::parse(writer_of(request_of(RequestKind::kChat))->whole(answer));
  CHECK(chat["prompt_logprobs"].dump() == expected);
}

TEST_CASE("stream chunks of a completion") {
  GenerationRequest request = request_of(RequestKind::kCompletion);
  const ChoiceDelta delta = {2, {TextDelta{"x"}}, {}};
  CHECK(events_of(*writer_of(request), delta) ==
        "data: " + std::string(kCompletionHead) +
            R"("choices":[{"index":2,"text":"x","logprobs":null,"finish_reason":null,"stop_reason":null}]})" + "\n\n");
  std::string out;
  writer_of(request)->append_end(answer_of({}), out);
  CHECK(out == "data: [DONE]\n\n");
  request.include_usage = true;
  CHECK_THAT(events_of(*writer_of(request), delta), Catch::EndsWith(",\"usage\":null}\n\n"));
  out.clear();
  writer_of(request)->append_end(answer_of({}), out);
  CHECK(out ==
        "data: " + std::string(kCompletionHead) + R"("choices":[],)" + std::string(kUsage) + "}\n\ndata: [DONE]\n\n");
}

TEST_CASE("the class of service is in every object, when it was asked for") {
  for (const RequestKind kind : {RequestKind::kCompletion, RequestKind::kChat}) {
    GenerationRequest request = request_of(kind);
    const Answer answer = answer_of({TextDelta{"a"}});
    CHECK(writer_of(request)->whole(answer).find("service_tier") == std::string::npos);
    request.service_tier = ServiceTier::kPriority;
    request.include_usage = true;
    constexpr const char* kTier = R"("model":"m","service_tier":"priority",)";
    CHECK(writer_of(request)->whole(answer).find(kTier) != std::string::npos);
    std::string out;
    writer_of(request)->append_delta({0, {TextDelta{"a"}}, {}}, out);
    CHECK(out.find(kTier) != std::string::npos);
    out.clear();
    writer_of(request)->append_end({}, out);
    CHECK(out.find(kTier) != std::string::npos);
  }
}

TEST_CASE("stream chunks of a chat: a role first, then what is new") {
  const auto writer = writer_of(request_of(RequestKind::kChat));
  const std::string begin = std::string(kChunkHead) + R"("choices":[{"index":0,"delta":)";
  const std::string role =
      begin + R"({"role":"assistant","content":null},"logprobs":null,"finish_reason":null}]})" + "\n\n";
  const std::string goes_on = R"(,"logprobs":null,"finish_reason":null,"stop_reason":null}]})"
                              "\n\n";
  CHECK(events_of(*writer, {0, {TextDelta{"x"}}, {}}) == role + begin + R"({"content":"x"})" + goes_on);
  CHECK(events_of(*writer, {0, {ReasoningDelta{"r"}}, {}}) ==
        begin + R"({"reasoning_content":"r","reasoning":"r"})" + goes_on);
  CHECK(events_of(*writer, {0, {}, {7}}) == begin + R"({"content":""})" + goes_on);
  CHECK(events_of(*writer, {0, {Finish{FinishReason::kLength}}, {}}) ==
        begin + R"({},"logprobs":null,"finish_reason":"length","stop_reason":null}]})" + "\n\n");
  CHECK_THAT(events_of(*writer, {1, {TextDelta{"x"}}, {}}), Catch::Contains(R"("index":1,"delta":{"role")"));
}

// The "choices[0]" of each event of a delta.
std::vector<Json> choices_of(AnswerWriter& writer, const ChoiceDelta& delta) {
  std::vector<Json> choices;
  const std::string events = events_of(writer, delta);
  for (std::size_t at = 0; at < events.size(); at = events.find("\n\n", at) + 2) {
    const std::size_t begin = at + std::string_view("data: ").size();
    choices.push_back(Json::parse(events.substr(begin, events.find("\n\n", at) - begin))["choices"][0]);
  }
  return choices;
}

TEST_CASE("stream chunks of a chat: one item each, the reason for the end alone in the last one") {
  const auto writer = writer_of(request_of(RequestKind::kChat));
  const std::vector<Json> choices =
      choices_of(*writer, {0,
                           {TextDelta{"t"}, ToolCallBegin{0, "c", "f"}, ToolArgumentsDelta{0, "{}"},
                            ToolCallBegin{1, "d", "g"}, ToolArgumentsDelta{1, "[]"}, Finish{FinishReason::kToolCalls}},
                           {}});
  const std::vector<std::string> expected = {
      R"({"role":"assistant","content":null})",
      R"({"content":"t"})",
      R"({"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]})",
      R"({"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]})",
      R"({"tool_calls":[{"index":1,"id":"d","type":"function","function":{"name":"g","arguments":""}}]})",
      R"({"tool_calls":[{"index":1,"function":{"arguments":"[]"}}]})",
      "{}"};
  REQUIRE(choices.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(choices[i]["delta"].dump() == expected[i]);
    CHECK(choices[i]["finish_reason"].is_null() == (i + 1 < expected.size()));
  }
  CHECK(choices.back()["finish_reason"] == "tool_calls");
}

TEST_CASE("stream chunks of a completion: no text beside the reason for the end") {
  GenerationRequest request = request_of(RequestKind::kCompletion);
  request.return_token_ids = true;
  const auto writer = writer_of(request);
  const std::vector<Json> both = choices_of(*writer, {0, {TextDelta{"x"}, Finish{FinishReason::kLength}}, {7, 8}});
  REQUIRE(both.size() == 2);
  CHECK(both[0]["text"] == "x");
  CHECK(both[0]["finish_reason"].is_null());
  CHECK(both[0]["token_ids"] == Json{7, 8});
  CHECK(both[1]["text"] == "");
  CHECK(both[1]["finish_reason"] == "length");
  CHECK_FALSE(both[1].contains("token_ids"));
  const std::vector<Json> end = choices_of(*writer, {0, {Finish{}}, {1}});
  REQUIRE(end.size() == 1);
  CHECK(end[0]["token_ids"] == Json{1});
}

TEST_CASE("a stream may say the usage so far in every chunk") {
  for (const RequestKind kind : {RequestKind::kChat, RequestKind::kCompletion}) {
    GenerationRequest request = request_of(kind);
    request.continuous_usage = true;
    const auto writer = writer_of(request);
    ChoiceDelta delta{0, {TextDelta{"x"}, Finish{}}, {}};
    delta.so_far = {5, 2, 0, 0, 0};
    const std::string events = events_of(*writer, delta);
    std::size_t found = 0;
    for (std::size_t at = events.find("\"usage\""); at != std::string::npos; at = events.find("\"usage\"", at + 1)) {
      CHECK(events.substr(at).starts_with(R"("usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}})"));
      ++found;
    }
    CHECK(found == (kind == RequestKind::kChat ? 3U : 2U));
  }
}

TEST_CASE("tokens with the same text: each name once in an object, the likeliest's; ids on request") {
  GenerationRequest request = request_of(RequestKind::kCompletion);
  request.top_logprobs = 3;
  TextDelta text{"x", {entry(9, -3.0F, "a", 0)}};
  text.tokens[0].top = {{7, -0.25F, "a"}, {8, -0.5F, "b"}, {6, -0.75F, "a"}};
  const Answer answer = answer_of({text, Finish{}});
  CHECK(choice_of(request, answer)["logprobs"]["top_logprobs"].dump() == R"([{"a":-0.25,"b":-0.5}])");
  request.tokens_as_ids = true;
  const Json ids = choice_of(request, answer)["logprobs"];
  CHECK(ids["tokens"].dump() == R"(["token_id:9"])");
  CHECK(ids["top_logprobs"].dump() == R"([{"token_id:7":-0.25,"token_id:8":-0.5,"token_id:6":-0.75,"token_id:9":-3}])");
  request.kind = RequestKind::kChat;
  const Json chat = choice_of(request, answer)["logprobs"]["content"][0];
  CHECK(chat["token"] == "token_id:9");
  CHECK(chat["bytes"] == Json{97});
  CHECK(chat["top_logprobs"][2]["token"] == "token_id:6");
}

TEST_CASE("an error ends a stream") {
  std::string out;
  writer_of(request_of(RequestKind::kChat))->append_error(overloaded("full", 1), out);
  CHECK(out == R"(data: {"error":{"message":"full","type":"rate_limit_error","param":null,"code":"queue_full"}})"
               "\n\ndata: [DONE]\n\n");
}

TEST_CASE("pieces of one text are joined, other items are not") {
  std::vector<OutputItem> items;
  append_item(items, TextDelta{"a", {entry(1, 0, "a", 0)}});
  append_item(items, TextDelta{});
  append_item(items, TextDelta{"b", {entry(2, 0, "b", 1)}});
  append_item(items, ToolCallBegin{0, "c", "f"});
  append_item(items, ToolArgumentsDelta{0, "{"});
  append_item(items, ToolArgumentsDelta{0, "}"});
  append_item(items, ToolArgumentsDelta{1, "{"});
  append_item(items, TextDelta{"c"});
  append_item(items, ReasoningDelta{"d"});
  append_item(items, Finish{});
  REQUIRE(items.size() == 7);
  CHECK(std::get<TextDelta>(items[0]).text == "ab");
  CHECK(std::get<TextDelta>(items[0]).tokens.size() == 2);
  CHECK(std::get<ToolArgumentsDelta>(items[2]).text == "{}");
  CHECK(std::get<ToolArgumentsDelta>(items[3]).text == "{");
  CHECK(std::get<TextDelta>(items[4]).text == "c");
}

TEST_CASE("models, tokenizer answers and errors") {
  const ModelCard card = {"a/b", 1700000000, 2048};
  const std::string model =
      R"({"id":"a/b","object":"model","created":1700000000,"owned_by":"coppice","max_model_len":2048})";
  CHECK(write_model(card) == model);
  CHECK(write_model_list(std::span(&card, 1)) == R"({"object":"list","data":[)" + model + "]}");
  const std::vector<TokenId> tokens = {1, 2};
  const std::vector<std::string> pieces = {"a", "\xE2\x96\x81"};
  CHECK(write_tokenize(tokens, 9, nullptr) == R"({"count":2,"max_model_len":9,"tokens":[1,2],"token_strs":null})");
  CHECK(write_tokenize(tokens, 9, &pieces) ==
        "{\"count\":2,\"max_model_len\":9,\"tokens\":[1,2],\"token_strs\":[\"a\",\"\xE2\x96\x81\"]}");
  CHECK(write_detokenize("x\n") == R"({"prompt":"x\n"})");
  CHECK(write_error(bad_value("n", "no")) ==
        R"({"error":{"message":"no","type":"invalid_request_error","param":"n","code":"invalid_value"}})");
  CHECK(write_error(internal_error("x")) ==
        R"({"error":{"message":"x","type":"internal_server_error","param":null,"code":"internal_error"}})");
}

}  // namespace
}  // namespace coppice::openai
