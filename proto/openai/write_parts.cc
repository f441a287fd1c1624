// Heads, usage, reasons and events.
#include "proto/openai/write_parts.h"

#include <algorithm>
#include <iterator>
#include <variant>

namespace coppice::openai {
namespace {

constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

std::string_view finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kToolCalls:
      return "tool_calls";
  }
  return "";
}

void write_totals(const AnswerUsage& usage, JsonWriter& out) {
  out.key("prompt_tokens").integer(usage.prompt_tokens);
  out.key("completion_tokens").integer(usage.completion_tokens);
  out.key("total_tokens").integer(usage.prompt_tokens + usage.completion_tokens);
}

void append_event(std::string_view json, std::string& out) {
  out += "data: ";
  out += json;
  out += "\n\n";
}

}  // namespace

void add_entries(const std::vector<TokenEntry>& tokens, EntryList& list) {
  std::transform(tokens.begin(), tokens.end(), std::back_inserter(list),
                 [](const TokenEntry& entry) { return &entry; });
}

void write_head(const AnswerHead& head, std::string_view object, JsonWriter& out) {
  out.key("id").string(head.id);
  out.key("object").string(object);
  out.key("created").integer(head.created_s);
  out.key("model").string(head.model);
  if (!head.service_tier.empty()) {
    out.key("service_tier").string(head.service_tier);
  }
}

void write_usage(const Answer& answer, JsonWriter& out) {
  const AnswerUsage& usage = answer.usage;
  out.key("usage").begin_object();
  write_totals(usage, out);
  out.key("prompt_tokens_details").begin_object();
  out.key("cached_tokens").integer(usage.cached_tokens);
  out.key("cache_write_tokens").integer(usage.cache_write_tokens);
  out.end_object();
  out.key("completion_tokens_details").begin_object();
  out.key("reasoning_tokens").integer(usage.reasoning_tokens);
  out.key("accepted_prediction_tokens").integer(usage.accepted_prediction_tokens);
  out.key("rejected_prediction_tokens").integer(usage.rejected_prediction_tokens);
  out.end_object();
  out.end_object();
  out.key("speculation").begin_object();
  out.key("drafted_tokens").integer(answer.speculation.drafted_tokens);
  out.key("accepted_tokens").integer(answer.speculation.accepted_tokens);
  out.end_object();
}

void write_finish(const AnswerHead& head, const Finish* finish, JsonWriter& out) {
  if (finish == nullptr) {
    out.key("finish_reason").null().key("stop_reason").null();
    return;
  }
  const bool is_function_call = head.has_functions && finish->reason == FinishReason::kToolCalls;
  out.key("finish_reason").string(is_function_call ? "function_call" : finish_name(finish->reason));
  out.key("stop_reason");
  if (const auto* const text = std::get_if<std::string>(&finish->cause)) {
    out.string(*text);
  } else if (const auto* const token = std::get_if<TokenId>(&finish->cause)) {
    out.integer(*token);
  } else {
    out.null();
  }
}

void write_token_ids(const AnswerHead& head, const ChoiceDelta& choice, JsonWriter& out) {
  if (!head.return_token_ids) {
    return;
  }
  out.key("token_ids").begin_array();
  for (const TokenId token : choice.token_ids) {
    out.integer(token);
  }
  out.end_array();
}

void end_chunk(const AnswerHead& head, const ChoiceDelta& delta, JsonWriter& json, std::string& out) {
  if (head.continuous_usage) {
    json.key("usage").begin_object();
    write_totals(delta.so_far, json);
    json.end_object();
  } else if (head.include_usage) {
    json.key("usage").null();
  }
  json.end_object();
  append_event(json.take(), out);
}

void append_stream_end(const AnswerHead& head, std::string_view object, const Answer& answer, std::string& out) {
  if (head.include_usage) {
    JsonWriter json;
    json.begin_object();
    write_head(head, object, json);
    json.key("choices").begin_array().end_array();
    write_usage(answer, json);
    json.end_object();
    append_event(json.take(), out);
  }
  out += kDoneEvent;
}

void append_stream_error(const ApiError& error, std::string& out) {
  append_event(write_error(error), out);
  out += kDoneEvent;
}

}  // namespace coppice::openai
