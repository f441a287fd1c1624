// Golden texts of every object the server writes.
#include "proto/openai/write_answer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "proto/openai/api_error.h"

namespace coppice::openai {
namespace {

AnswerHead head_of(RequestKind kind) {
  AnswerHead head;
  head.id = "id-1";
  head.created_s = 1700000000;
  head.model = "m";
  head.kind = kind;
  return head;
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
    R"("usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"prompt_tokens_details":{"cached_tokens":4},)"
    R"("completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":2,)"
    R"("rejected_prediction_tokens":1}})";

Answer answer_of(ChoiceDelta choice) {
  Answer answer;
  answer.choices.push_back(std::move(choice));
  answer.usage = {5, 3, 4, 2, 1};
  return answer;
}

TEST_CASE("a completion") {
  ChoiceDelta choice;
  choice.text = " \"x\"";
  choice.finish = Finish::kLength;
  CHECK(write_answer(head_of(RequestKind::kCompletion), answer_of(choice)) ==
        std::string(R"({"id":"id-1","object":"text_completion","created":1700000000,"model":"m","choices":[)") +
            R"({"index":0,"text":" \"x\"","logprobs":null,"finish_reason":"length","stop_reason":null}],)" + kUsage +
            "}");
}

TEST_CASE("a completion with logprobs, an echoed first token and half a character") {
  AnswerHead head = head_of(RequestKind::kCompletion);
  head.logprobs = true;
  ChoiceDelta choice;
  choice.text = "ab";
  choice.finish = Finish::kStop;
  choice.stop_reason = std::string("##");
  TokenEntry first = entry(1, 0, "a", 0);
  first.logprob.reset();
  choice.tokens = {first, entry(2, -0.5F, "b", 1), entry(3, -1.25F, "\xC3", 2)};
  choice.tokens[1].top = {{7, -0.25F, "c"}, {2, -0.5F, "b"}};
  choice.tokens[2].top = {{8, -0.75F, "d"}};
  const nlohmann::ordered_json logprobs =
      nlohmann::ordered_json::parse(write_answer(head, answer_of(choice)))["choices"][0]["logprobs"];
  CHECK(logprobs.dump() ==
        R"({"text_offset":[0,1,2],"token_logprobs":[null,-0.5,-1.25],"tokens":["a","b","bytes:\\xc3"],)"
        R"("top_logprobs":[null,{"c":-0.25,"b":-0.5},{"d":-0.75,"bytes:\\xc3":-1.25}]})");
}

TEST_CASE("a chat") {
  ChoiceDelta choice;
  choice.text = "hi";
  choice.finish = Finish::kStop;
  choice.stop_reason = TokenId{9};
  CHECK(write_answer(head_of(RequestKind::kChat), answer_of(choice)) ==
        std::string(R"({"id":"id-1","object":"chat.completion","created":1700000000,"model":"m","choices":[)") +
            R"({"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,)"
            R"("finish_reason":"stop","stop_reason":9}],)" +
            kUsage + "}");
}

TEST_CASE("a chat with logprobs and token ids") {
  AnswerHead head = head_of(RequestKind::kChat);
  head.logprobs = true;
  head.return_token_ids = true;
  ChoiceDelta choice;
  choice.text = "\xC3\xA9";
  choice.token_ids = {3, 1};
  choice.tokens = {entry(3, -0.5F, "\xC3\xA9", 0)};
  choice.tokens[0].top = {{4, -0.25F, "e"}};
  choice.finish = Finish::kStop;
  const auto written = nlohmann::ordered_json::parse(write_answer(head, answer_of(choice)))["choices"][0];
  CHECK(written["token_ids"].dump() == "[3,1]");
  CHECK(written["logprobs"].dump() ==
        "{\"content\":[{\"token\":\"\xC3\xA9\",\"logprob\":-0.5,\"bytes\":[195,169],\"top_logprobs\":"
        "[{\"token\":\"e\",\"logprob\":-0.25,\"bytes\":[101]}]}],\"refusal\":null}");
}

TEST_CASE("a chat that calls tools") {
  ChoiceDelta choice;
  choice.finish = Finish::kToolCalls;
  choice.tool_calls = {{"call_1", "f", R"({"x":1})"}};
  const auto written =
      nlohmann::ordered_json::parse(write_answer(head_of(RequestKind::kChat), answer_of(choice)))["choices"][0];
  CHECK(written["finish_reason"] == "tool_calls");
  CHECK(written["message"].dump() ==
        R"({"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_1","type":"function",)"
        R"("function":{"name":"f","arguments":"{\"x\":1}"}}]})");
}

TEST_CASE("prompt logprobs") {
  Answer answer = answer_of({});
  TokenEntry first = entry(1, 0, "<s>", 0);
  first.logprob.reset();
  answer.prompt_scores = {{first, entry(2, -0.5F, "a", 0)}};
  answer.prompt_scores[0][1].top = {{3, -0.25F, "b"}};
  const std::string wanted =
      R"([null,{"2":{"logprob":-0.5,"decoded_token":"a"},"3":{"logprob":-0.25,"decoded_token":"b"}}])";
  const auto completion = nlohmann::ordered_json::parse(write_answer(head_of(RequestKind::kCompletion), answer));
  CHECK(completion["choices"][0]["prompt_logprobs"].dump() == wanted);
  const auto chat = nlohmann::ordered_json::parse(write_answer(head_of(RequestKind::kChat), answer));
  CHECK(chat["prompt_logprobs"].dump() == wanted);
}

TEST_CASE("stream chunks of a completion") {
  AnswerHead head = head_of(RequestKind::kCompletion);
  std::string out;
  ChoiceDelta delta;
  delta.index = 2;
  delta.text = "x";
  append_delta_chunk(head, delta, out);
  CHECK(out ==
        "data: {\"id\":\"id-1\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":["
        "{\"index\":2,\"text\":\"x\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}]}\n\n");
  out.clear();
  head.include_usage = true;
  append_delta_chunk(head, delta, out);
  CHECK_THAT(out, Catch::EndsWith(",\"usage\":null}\n\n"));
  out.clear();
  append_usage_chunk(head, {5, 3, 4, 2, 1}, out);
  CHECK(out ==
        "data: {\"id\":\"id-1\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":[]," +
            std::string(kUsage) + "}\n\n");
}

TEST_CASE("stream chunks of a chat") {
  const AnswerHead head = head_of(RequestKind::kChat);
  const std::string begin =
      R"(data: {"id":"id-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,)";
  std::string out;
  append_role_chunk(head, 0, out);
  CHECK(out ==
        begin + "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  out.clear();
  ChoiceDelta delta;
  delta.text = "x";
  append_delta_chunk(head, delta, out);
  CHECK(out ==
        begin + "\"delta\":{\"content\":\"x\"},\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}]}\n\n");
  out.clear();
  delta.text.clear();
  delta.finish = Finish::kToolCalls;
  delta.tool_calls = {{"c", "f", "{}"}};
  append_delta_chunk(head, delta, out);
  CHECK(out == begin +
                   R"("delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f",)"
                   R"("arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls","stop_reason":null}]})" +
                   "\n\n");
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
  std::string out;
  append_error_event(overloaded("full", 1), out);
  CHECK(out ==
        "data: "
        "{\"error\":{\"message\":\"full\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"queue_full\"}}\n\n");
}

}  // namespace
}  // namespace coppice::openai
