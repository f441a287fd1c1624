// Messages and their events, errors, models.
#include "proto/anthropic/messages_writer.h"

#include <array>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "proto/anthropic/write_objects.h"

namespace coppice::anthropic {
namespace {

using openai::Answer;
using openai::AnswerUsage;
using openai::Finish;
using openai::FinishReason;
using openai::OutputItem;
using openai::ReasoningDelta;
using openai::TextDelta;
using openai::ToolArgumentsDelta;
using openai::ToolCallBegin;
using Json = nlohmann::ordered_json;

MessageHead head() {
  MessageHead head;
  head.id = "msg_ab";
  head.model = std::string("m");
  head.request_id = std::string("r");
  head.max_tokens = 3;
  return head;
}

AnswerUsage usage() {
  AnswerUsage usage;
  usage.prompt_tokens = 9;
  usage.completion_tokens = 3;
  usage.cached_tokens = 4;
  usage.cache_write_tokens = 3;
  usage.kept_write_tokens = 2;
  return usage;
}

std::vector<OutputItem> all_items() {
  return {ReasoningDelta{"hm"},
          TextDelta{"hi "},
          TextDelta{"you"},
          ToolCallBegin{0, "call_1", "f"},
          ToolArgumentsDelta{0, "{\"x"},
          ToolArgumentsDelta{0, "\":1}"},
          Finish{FinishReason::kToolCalls}};
}

Json whole(std::vector<OutputItem> items, AnswerUsage used = usage()) {
  Answer answer;
  answer.choices.push_back({0, std::move(items), {}});
  answer.usage = used;
  return Json::parse(MessagesWriter(head()).whole(answer));
}

TEST_CASE("a whole message") {
  const Json message = whole(all_items());
  CHECK(message.dump() ==
        R"({"id":"msg_ab","type":"message","role":"assistant","model":"m","content":[)"
        R"({"type":"thinking","thinking":"hm","signature":"coppice"},{"type":"text","text":"hi you"},)"
        R"({"type":"tool_use","id":"call_1","name":"f","input":{"x":1}}],"stop_reason":"tool_use",)"
        R"("stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":2,)"
        R"("cache_read_input_tokens":4,"output_tokens":3}})");
}

TEST_CASE("why a message ends") {
  CHECK(whole({Finish{}})["stop_reason"] == "end_turn");
  CHECK(whole({Finish{}})["content"].empty());
  CHECK(whole({Finish{FinishReason::kStop, TokenId{4}}})["stop_reason"] == "end_turn");
  const Json stopped = whole({TextDelta{"a"}, Finish{FinishReason::kStop, std::string("##")}});
  CHECK(stopped["stop_reason"] == "stop_sequence");
  CHECK(stopped["stop_sequence"] == "##");
  CHECK(whole({Finish{FinishReason::kLength}})["stop_reason"] == "max_tokens");
  AnswerUsage fewer = usage();
  fewer.completion_tokens = 2;
  CHECK(whole({Finish{FinishReason::kLength}}, fewer)["stop_reason"] == "model_context_window_exceeded");
}

TEST_CASE("a tool's input is an object whatever the model wrote") {
  const auto input = [](const char* arguments) {
    return whole({ToolCallBegin{0, "c", "f"}, ToolArgumentsDelta{0, arguments}, Finish{}})["content"][0]["input"]
        .dump();
  };
  CHECK(input("{}") == "{}");
  CHECK(input("") == "{}");
  CHECK(input("[1]") == R"({"input":"[1]"})");
  CHECK(input("{\"x") == R"({"input":"{\"x"})");
}

TEST_CASE("a stream") {
  MessagesWriter writer(head());
  std::string out;
  AnswerUsage known;
  known.prompt_tokens = 9;
  known.cached_tokens = 4;
  writer.append_begin(known, out);
  writer.append_begin(known, out);
  for (const OutputItem& item : all_items()) {
    writer.append_delta({0, {item}, {}}, out);
  }
  Answer answer;
  answer.usage = usage();
  writer.append_end(answer, out);
  const std::string wanted =
      R"(message_start {"type":"message_start","message":{"id":"msg_ab","type":"message","role":"assistant",)"
      R"("model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":5,)"
      R"("cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":0}}})"
      "\n"
      R"(ping {"type":"ping"})"
      "\n"
      R"(content_block_start {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"",)"
      R"("signature":""}})"
      "\n"
      R"(content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",)"
      R"("thinking":"hm"}})"
      "\n"
      R"(content_block_delta {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta",)"
      R"("signature":"coppice"}})"
      "\n"
      R"(content_block_stop {"type":"content_block_stop","index":0})"
      "\n"
      R"(content_block_start {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}})"
      "\n"
      R"(content_block_delta {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi "}})"
      "\n"
      R"(content_block_delta {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"you"}})"
      "\n"
      R"(content_block_stop {"type":"content_block_stop","index":1})"
      "\n"
      R"(content_block_start {"type":"content_block_start","index":2,"content_block":{"type":"tool_use",)"
      R"("id":"call_1","name":"f","input":{}}})"
      "\n"
      R"(content_block_delta {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",)"
      R"("partial_json":"{\"x"}})"
      "\n"
      R"(content_block_delta {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",)"
      R"("partial_json":"\":1}"}})"
      "\n"
      R"(content_block_stop {"type":"content_block_stop","index":2})"
      "\n"
      R"(message_delta {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},)"
      R"("usage":{"input_tokens":3,"cache_creation_input_tokens":2,"cache_read_input_tokens":4,"output_tokens":3}})"
      "\n"
      R"(message_stop {"type":"message_stop"})"
      "\n";
  std::string framed;
  std::size_t at = 0;
  while (at < wanted.size()) {
    const std::size_t end = wanted.find('\n', at);
    const std::size_t blank = wanted.find(' ', at);
    framed +=
        "event: " + wanted.substr(at, blank - at) + "\ndata: " + wanted.substr(blank + 1, end - blank - 1) + "\n\n";
    at = end + 1;
  }
  CHECK(out == framed);
}

TEST_CASE("errors have few types and the request's id") {
  const auto type_of = [](const openai::ApiError& error) {
    return Json::parse(write_error(error, "r"))["error"]["type"].get<std::string>();
  };
  CHECK(write_error(openai::bad_value("x", "no"), "r") ==
        R"({"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"r"})");
  CHECK(write_error(openai::unauthorized("no"), "") ==
        R"({"type":"error","error":{"type":"authentication_error","message":"no"}})");
  CHECK(type_of(openai::not_found("", "c", "m")) == "not_found_error");
  CHECK(type_of(openai::too_large("m")) == "request_too_large");
  CHECK(type_of(openai::overloaded("m", 1)) == "rate_limit_error");
  CHECK(type_of(openai::unavailable("c", "m", 1)) == "overloaded_error");
  CHECK(type_of(openai::deadline_exceeded("m")) == "timeout_error");
  CHECK(type_of(openai::internal_error("m")) == "api_error");
  MessagesWriter writer(head());
  std::string out;
  writer.append_error(openai::internal_error("m"), out);
  CHECK(out == "event: error\ndata: " + write_error(openai::internal_error("m"), "r") + "\n\n");
}

TEST_CASE("models and counts") {
  const std::array<openai::ModelCard, 1> cards = {{{"m/1", 1700000000, 2048}}};
  CHECK(anthropic::write_model_list(cards) ==
        R"({"data":[)" + anthropic::write_model(cards[0]) + R"(],"has_more":false,"first_id":"m/1","last_id":"m/1"})");
  CHECK(Json::parse(anthropic::write_model(cards[0]))["created_at"] == "2023-11-14T22:13:20Z");
  CHECK(write_token_count(7) == R"({"input_tokens":7})");
}

}  // namespace
}  // namespace coppice::anthropic
