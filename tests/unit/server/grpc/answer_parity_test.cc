// What an answer holds over HTTP it holds over gRPC, and what one refuses with, the other does.
#include <catch2/catch.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "proto/openai/chat_writer.h"
#include "server/grpc/answer_writer.h"
#include "server/grpc/convert.h"
#include "server/sessions/refusals.h"

namespace coppice::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using openai::Json;

// The events of a stream, without its end.
std::vector<Json> events_of(const std::string& stream) {
  std::vector<Json> events;
  for (std::size_t at = 0; (at = stream.find("data: {", at)) != std::string::npos; ++at) {
    events.push_back(Json::parse(stream.substr(at + 6, stream.find("\n\n", at) - at - 6)));
  }
  return events;
}

openai::TokenEntry entry(TokenId token, std::string bytes) {
  openai::TokenEntry out;
  out.token = token;
  out.logprob = -0.5F;
  out.bytes = std::move(bytes);
  out.top = {{3, -0.25F, "c"}};
  return out;
}

// The members that `item` has in a chunk over HTTP, by their names over gRPC.
std::set<std::string> http_members(const openai::OutputItem& item) {
  openai::AnswerHead head;
  head.logprobs = true;
  openai::ChatWriter writer(head);
  std::string stream;
  writer.append_delta({0, {openai::TextDelta{"first"}}, {}}, stream);
  stream.clear();
  writer.append_delta({0, {item}, {}}, stream);
  const std::map<std::string, std::string> names = {
      {"content", "text"},          {"reasoning", "reasoning"},         {"reasoning_content", "reasoning"},
      {"tool_calls", "tool_calls"}, {"finish_reason", "finish_reason"}, {"logprobs", "tokens"}};
  std::set<std::string> found;
  for (const Json& event : events_of(stream)) {
    Json members = event["choices"][0]["delta"];
    members.update(event["choices"][0]);
    for (const auto& [name, value] : members.items()) {
      if (value.is_null() || name == "index" || name == "delta") {
        continue;
      }
      if (name == "stop_reason") {
        found.insert(value.is_string() ? "stop_text" : "stop_token");
      } else {
        INFO(name);
        REQUIRE(names.count(name) == 1);
        found.insert(names.at(name));
      }
    }
  }
  return found;
}

std::set<std::string> grpc_members(const v1::GenerateResponse& response) {
  std::vector<const FieldDescriptor*> fields;
  response.GetReflection()->ListFields(response, &fields);
  std::set<std::string> found;
  for (const FieldDescriptor* const field : fields) {
    found.insert(field->name());
  }
  return found;
}

TEST_CASE("every item of an answer has the same parts over HTTP and gRPC") {
  using openai::FinishReason;
  STATIC_REQUIRE(std::variant_size_v<openai::OutputItem> == 5);  // a new one wants a row
  const std::vector<openai::OutputItem> items = {
      openai::TextDelta{"a", {entry(1, "a")}},
      openai::ReasoningDelta{"b", {entry(2, "b")}},
      openai::ToolCallBegin{0, "id", "f", {entry(4, "{")}},
      openai::ToolArgumentsDelta{0, "{}", {entry(5, "}")}},
      openai::Finish{FinishReason::kStop},
      openai::Finish{FinishReason::kLength},
      openai::Finish{FinishReason::kToolCalls},
      openai::Finish{FinishReason::kStop, std::string("end")},
      openai::Finish{FinishReason::kStop, TokenId{7}},
  };
  const GrpcAnswerWriter writer(/*has_logprobs=*/true);
  for (const openai::OutputItem& item : items) {
    const v1::GenerateResponse response = writer.delta({0, {item}, {}});
    CHECK(grpc_members(response) == http_members(item));
  }
  const v1::GenerateResponse text = writer.delta({0, {items[0]}, {}});
  CHECK(text.tokens(0).logprob() == -0.5F);
  CHECK(text.tokens(0).top(0).text() == "c");
  CHECK(writer.delta({0, {items[7]}, {}}).stop_text() == "end");
  CHECK(writer.delta({0, {items[8]}, {}}).stop_token() == 7);
}

TEST_CASE("the end of an answer says the same over HTTP and gRPC") {
  openai::Answer answer;
  answer.usage.prompt_tokens = 5;
  answer.usage.completion_tokens = 3;
  answer.usage.cached_tokens = 4;
  answer.usage.accepted_prediction_tokens = 2;
  answer.usage.rejected_prediction_tokens = 1;
  answer.usage.reasoning_tokens = 6;
  answer.usage.cache_write_tokens = 7;
  answer.speculation = {9, 8};
  const v1::GenerateResponse end = GrpcAnswerWriter(/*has_logprobs=*/false).end(answer);
  openai::ChatWriter writer({});
  const Json whole = Json::parse(writer.whole(answer));
  // Every number of `usage` and `speculation`, whatever it is called.
  std::multiset<std::int64_t> http;
  const std::function<void(const Json&)> collect = [&](const Json& value) {
    for (const auto& [name, member] : value.items()) {
      if (member.is_object()) {
        collect(member);
      } else if (name != "total_tokens") {  // a sum
        http.insert(member.get<std::int64_t>());
      }
    }
  };
  collect(whole["usage"]);
  collect(whole["speculation"]);
  std::multiset<std::int64_t> grpc;
  for (const Message* const part :
       {static_cast<const Message*>(&end.usage()), static_cast<const Message*>(&end.speculation())}) {
    for (int i = 0; i < part->GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& field = *part->GetDescriptor()->field(i);
      const bool is_long = field.cpp_type() == FieldDescriptor::CPPTYPE_INT64;
      const Reflection& reflection = *part->GetReflection();
      grpc.insert(is_long ? reflection.GetInt64(*part, &field) : reflection.GetInt32(*part, &field));
    }
  }
  CHECK(grpc == http);
  CHECK(grpc == std::multiset<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("refusals have the gRPC status that the table says") {
  for (const Refusal& refusal : refusals()) {
    INFO(refusal.status);
    openai::ApiError error = openai::bad_value("x", "no");
    error.status = refusal.status;
    const grpc::Status status = to_status(error);
    CHECK(static_cast<int>(status.error_code()) == refusal.grpc_code);
    CHECK(status.error_message() == "no");
  }
}

}  // namespace
}  // namespace coppice::server
