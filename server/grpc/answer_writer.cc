// Items to messages.
#include "server/grpc/answer_writer.h"

#include <google/protobuf/repeated_ptr_field.h>

#include <nlohmann/json.hpp>
#include <variant>

namespace coppice::server {
namespace {

using Tokens = google::protobuf::RepeatedPtrField<v1::Token>;

void add_entries(const std::vector<openai::TokenEntry>& entries, Tokens& tokens) {
  for (const openai::TokenEntry& entry : entries) {
    v1::Token& token = *tokens.Add();
    token.set_token_id(entry.token);
    if (entry.logprob) {
      token.set_logprob(*entry.logprob);
    }
    for (const openai::TopToken& top : entry.top) {
      v1::TokenLogprob& alternative = *token.add_top();
      alternative.set_token_id(top.token);
      alternative.set_logprob(top.logprob);
      alternative.set_text(utf8_only(top.bytes));
    }
  }
}

v1::FinishReason to_proto(openai::FinishReason reason) {
  switch (reason) {
    case openai::FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case openai::FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case openai::FinishReason::kToolCalls:
      return v1::FINISH_REASON_TOOL_CALLS;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

// Adds items to a response.
struct Fields {
  void operator()(const openai::TextDelta& item) const {
    response.mutable_text()->append(item.text);
    add_entries(item.tokens, *response.mutable_tokens());
  }
  void operator()(const openai::ReasoningDelta& item) const {
    response.mutable_reasoning()->append(item.text);
    add_entries(item.tokens, *response.mutable_tokens());
  }
  void operator()(const openai::ToolCallBegin& item) const {
    v1::ToolCallDelta& call = *response.add_tool_calls();
    call.set_index(item.call);
    call.set_id(item.id);
    call.set_name(item.name);
    add_entries(item.tokens, *response.mutable_tokens());
  }
  void operator()(const openai::ToolArgumentsDelta& item) const {
    const int count = response.tool_calls_size();
    const bool is_open = count > 0 && response.tool_calls(count - 1).index() == item.call;
    v1::ToolCallDelta& call = is_open ? *response.mutable_tool_calls(count - 1) : *response.add_tool_calls();
    call.set_index(item.call);
    call.mutable_arguments()->append(item.text);
    add_entries(item.tokens, *response.mutable_tokens());
  }
  void operator()(const openai::Finish& item) const {
    response.set_finish_reason(to_proto(item.reason));
    if (const auto* const text = std::get_if<std::string>(&item.cause)) {
      response.set_stop_text(*text);
    } else if (const auto* const token = std::get_if<TokenId>(&item.cause)) {
      response.set_stop_token(*token);
    }
    if (has_logprobs && item.end_token) {
      response.add_tokens()->set_token_id(*item.end_token);
    }
  }

  v1::GenerateResponse& response;
  bool has_logprobs;
};

}  // namespace

std::string utf8_only(const std::string& bytes) {
  using Json = nlohmann::ordered_json;
  const std::string quoted = Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

v1::GenerateResponse GrpcAnswerWriter::delta(const openai::ChoiceDelta& delta) const {
  v1::GenerateResponse response;
  response.set_choice(delta.index);
  const Fields fields{response, has_logprobs_};
  for (const openai::OutputItem& item : delta.items) {
    std::visit(fields, item);
  }
  for (const TokenId token : delta.token_ids) {
    response.add_tokens()->set_token_id(token);
  }
  if (has_usage_) {
    response.mutable_usage()->set_prompt_tokens(static_cast<std::int32_t>(delta.so_far.prompt_tokens));
    response.mutable_usage()->set_completion_tokens(static_cast<std::int32_t>(delta.so_far.completion_tokens));
  }
  return response;
}

v1::GenerateResponse GrpcAnswerWriter::end(const openai::Answer& answer) const {
  v1::GenerateResponse response;
  response.set_service_tier(std::string(service_tier_));
  for (const openai::PromptScores& scores : answer.prompt_scores) {
    add_entries(scores, *response.mutable_prompt_tokens());
  }
  v1::Usage& usage = *response.mutable_usage();
  usage.set_prompt_tokens(static_cast<std::int32_t>(answer.usage.prompt_tokens));
  usage.set_cache_write_tokens(static_cast<std::int32_t>(answer.usage.cache_write_tokens));
  usage.set_cached_tokens(static_cast<std::int32_t>(answer.usage.cached_tokens));
  usage.set_completion_tokens(static_cast<std::int32_t>(answer.usage.completion_tokens));
  usage.set_accepted_prediction_tokens(static_cast<std::int32_t>(answer.usage.accepted_prediction_tokens));
  usage.set_rejected_prediction_tokens(static_cast<std::int32_t>(answer.usage.rejected_prediction_tokens));
  usage.set_reasoning_tokens(static_cast<std::int32_t>(answer.usage.reasoning_tokens));
  response.mutable_speculation()->set_drafted_tokens(answer.speculation.drafted_tokens);
  response.mutable_speculation()->set_accepted_tokens(answer.speculation.accepted_tokens);
  return response;
}

}  // namespace coppice::server
