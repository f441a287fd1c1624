// Response objects and their events.
#include "proto/openai/responses_writer.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

namespace coppice::openai {
namespace {

struct Sent {
  std::string name;
  Json data;
};

// Every event has both lines; the data names its type again.
std::vector<Sent> events_of(const std::string& stream) {
  std::vector<Sent> events;
  std::size_t at = 0;
  while (at < stream.size()) {
    const std::size_t end = stream.find("\n\n", at);
    REQUIRE(end != std::string::npos);
    const std::string event = stream.substr(at, end - at);
    const std::size_t line = event.find('\n');
    REQUIRE(event.starts_with("event: "));
    REQUIRE(event.substr(line + 1).starts_with("data: "));
    events.push_back({event.substr(7, line - 7), Json::parse(event.substr(line + 7))});
    CHECK(events.back().data["type"] == events.back().name);
    at = end + 2;
  }
  return events;
}

ResponseHead head() {
  ResponseHead head;
  head.id = "resp_ab";
  head.created_s = 1700000000;
  head.model = std::string("m");
  head.echo = {{"store", "true"}, {"metadata", R"({"a":"b"})"}};
  return head;
}

AnswerUsage usage() {
  AnswerUsage usage;
  usage.prompt_tokens = 5;
  usage.completion_tokens = 3;
  usage.cached_tokens = 4;
  return usage;
}

// One of everything a model may say.
std::vector<OutputItem> all_items() {
  return {ReasoningDelta{"hm"},
          TextDelta{"hi "},
          TextDelta{"you"},
          ToolCallBegin{0, "call_1", "f"},
          ToolArgumentsDelta{0, R"({"x":)"},
          ToolArgumentsDelta{0, "1}"},
          ToolCallBegin{1, "call_2", "g"},
          ToolArgumentsDelta{1, "{}"},
          Finish{FinishReason::kToolCalls}};
}

Answer answer_of(std::vector<OutputItem> items) {
  Answer answer;
  answer.choices.push_back({0, std::move(items), {}});
  answer.usage = usage();
  return answer;
}

// The same items, one event of the engine each.
std::string stream_of(ResponsesWriter& writer, const std::vector<OutputItem>& items) {
  std::string out;
  writer.append_begin({}, out);
  for (const OutputItem& item : items) {
    writer.append_delta({0, {item}, {}}, out);
  }
  writer.append_end(answer_of({}), out);
  return out;
}

Json without_time(Json object) {
  object.erase("completed_at");
  return object;
}

TEST_CASE("a whole response") {
  const ResponsesWriter writer(head());
  const Json object = Json::parse(writer.whole(answer_of(all_items())));
  CHECK(object["status"] == "completed");
  CHECK(object["completed_at"].is_number_integer());
  CHECK(object["output"].dump() ==
        R"([{"id":"rs_ab_o0","type":"reasoning","status":"completed","summary":[],"content":)"
        R"([{"type":"reasoning_text","text":"hm"}]},)"
        R"({"id":"msg_ab_o1","type":"message","status":"completed","role":"assistant","content":)"
        R"([{"type":"output_text","text":"hi you","annotations":[],"logprobs":[]}]},)"
        R"({"id":"fc_ab_o2","type":"function_call","status":"completed","call_id":"call_1","name":"f",)"
        R"("arguments":"{\"x\":1}"},)"
        R"({"id":"fc_ab_o3","type":"function_call","status":"completed","call_id":"call_2","name":"g",)"
        R"("arguments":"{}"}])");
  CHECK(object["usage"].dump() ==
        R"({"input_tokens":5,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"output_tokens":3,)"
        R"("output_tokens_details":{"reasoning_tokens":0},"total_tokens":8})");
  CHECK(object["metadata"]["a"] == "b");
  CHECK(object["error"].is_null());
}

TEST_CASE("an answer that its length ended is incomplete; one without items has an empty message") {
  const ResponsesWriter writer(head());
  const Json cut = Json::parse(writer.whole(answer_of({TextDelta{"hi"}, Finish{FinishReason::kLength}})));
  CHECK(cut["status"] == "incomplete");
  CHECK(cut["incomplete_details"]["reason"] == "max_output_tokens");
  CHECK(cut["output"][0]["status"] == "incomplete");
  CHECK(cut["completed_at"].is_null());
  const Json empty = Json::parse(writer.whole(answer_of({Finish{}})));
  CHECK(empty["status"] == "completed");
  CHECK(empty["output"][0]["content"][0]["text"] == "");
}

TEST_CASE("a stream: its events, their numbers, and the same object at its end") {
  ResponsesWriter writer(head());
  const std::vector<Sent> events = events_of(stream_of(writer, all_items()));
  std::vector<std::string> names;
  for (std::size_t i = 0; i < events.size(); ++i) {
    CHECK(events[i].data["sequence_number"] == i);
    names.push_back(events[i].name.substr(events[i].name.find('.') + 1));
  }
  const std::vector<std::string> call = {"output_item.added", "function_call_arguments.delta",
                                         "function_call_arguments.done", "output_item.done"};
  std::vector<std::string> wanted = {"created",
                                     "in_progress",
                                     "output_item.added",
                                     "content_part.added",
                                     "reasoning_text.delta",
                                     "reasoning_text.done",
                                     "content_part.done",
                                     "output_item.done",
                                     "output_item.added",
                                     "content_part.added",
                                     "output_text.delta",
                                     "output_text.delta",
                                     "output_text.done",
                                     "content_part.done",
                                     "output_item.done"};
  wanted.insert(wanted.end(), call.begin(), call.end());
  wanted.insert(wanted.end() - 2, "function_call_arguments.delta");
  wanted.insert(wanted.end(), call.begin(), call.end());
  wanted.emplace_back("completed");
  CHECK(names == wanted);
  ResponsesWriter whole(head());
  CHECK(without_time(events.back().data["response"]) == without_time(Json::parse(whole.whole(answer_of(all_items())))));
  CHECK(writer.texts().object == events.back().data["response"].dump());
  CHECK(writer.texts().output == events.back().data["response"]["output"].dump());
}

TEST_CASE("pieces of a stream make up what its done events say") {
  ResponsesWriter writer(head());
  std::string text;
  std::string arguments;
  for (const Sent& event : events_of(stream_of(writer, all_items()))) {
    text += event.name == "response.output_text.delta" ? event.data["delta"].get<std::string>() : "";
    arguments += event.name == "response.function_call_arguments.delta" && event.data["output_index"] == 2
                     ? event.data["delta"].get<std::string>()
                     : "";
    if (event.name == "response.output_text.done") {
      CHECK(event.data["text"] == text);
    }
    if (event.name == "response.function_call_arguments.done" && event.data["output_index"] == 2) {
      CHECK(event.data["arguments"] == arguments);
      CHECK(event.data["name"] == "f");
      CHECK(event.data["item_id"] == "fc_ab_o2");
    }
    if (event.name == "response.output_item.added" && event.data["output_index"] == 1) {
      CHECK(event.data["item"]["content"].empty());
      CHECK(event.data["item"]["status"] == "in_progress");
    }
  }
  CHECK(text == "hi you");
  CHECK(arguments == R"({"x":1})");
}

TEST_CASE("logprobs stand in deltas, and all of them at the end") {
  TokenEntry entry;
  entry.token = 3;
  entry.logprob = -0.5F;
  entry.bytes = std::string("a");
  TokenEntry other = entry;
  other.bytes = std::string("b");
  const std::vector<OutputItem> items = {TextDelta{"a", {entry}}, TextDelta{"b", {other}}, Finish{}};
  ResponsesWriter writer(head());
  const std::vector<Sent> events = events_of(stream_of(writer, items));
  CHECK(events[4].data["logprobs"].dump() == R"([{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]}])");
  CHECK(events[6].data["logprobs"].size() == 2);
  CHECK(Json::parse(ResponsesWriter(head()).whole(answer_of(items)))["output"][0]["content"][0]["logprobs"] ==
        events[6].data["logprobs"]);
  CHECK(writer.held_bytes() > 100);
}

TEST_CASE("an error ends a stream with what there is") {
  ResponsesWriter writer(head());
  std::string out;
  writer.append_begin({}, out);
  writer.append_begin({}, out);  // once only
  writer.append_delta({0, {TextDelta{"hi"}}, {}}, out);
  writer.append_error(unavailable("c", "gone", 1), out);
  const std::vector<Sent> events = events_of(out);
  REQUIRE(events.size() == 7);
  CHECK(events[5].data.dump() == R"({"type":"error","sequence_number":5,"code":"c","message":"gone","param":null})");
  CHECK(events[6].name == "response.failed");
  const Json& object = events[6].data["response"];
  CHECK(object["status"] == "failed");
  CHECK(object["error"].dump() == R"({"code":"server_error","message":"gone"})");
  CHECK(object["output"][0]["content"][0]["text"] == "hi");
}

}  // namespace
}  // namespace coppice::openai
