// OpenAI's answers as JSON text.
#include "proto/openai/write_answer.h"

#include "proto/openai/json_writer.h"
#include "proto/openai/write_logprobs.h"

namespace coppice::openai {
namespace {

void write_head(const AnswerHead& head, bool is_chunk, JsonWriter& out) {
  const bool is_chat = head.kind == RequestKind::kChat;
  out.key("id").string(head.id);
  out.key("object").string(!is_chat ? "text_completion" : is_chunk ? "chat.completion.chunk" : "chat.completion");
  out.key("created").integer(head.created_s);
  out.key("model").string(head.model);
}

void write_usage(const AnswerUsage& usage, JsonWriter& out) {
  out.key("usage").begin_object();
  out.key("prompt_tokens").integer(usage.prompt_tokens);
  out.key("completion_tokens").integer(usage.completion_tokens);
  out.key("total_tokens").integer(usage.prompt_tokens + usage.completion_tokens);
  out.key("prompt_tokens_details").begin_object();
  out.key("cached_tokens").integer(usage.cached_tokens);
  out.end_object();
  out.key("completion_tokens_details").begin_object();
  out.key("reasoning_tokens").integer(0);
  out.key("accepted_prediction_tokens").integer(usage.accepted_prediction_tokens);
  out.key("rejected_prediction_tokens").integer(usage.rejected_prediction_tokens);
  out.end_object();
  out.end_object();
}

void write_stop_reason(const ChoiceDelta& delta, JsonWriter& out) {
  out.key("stop_reason");
  if (const auto* const text = std::get_if<std::string>(&delta.stop_reason)) {
    out.string(*text);
  } else if (const auto* const token = std::get_if<TokenId>(&delta.stop_reason)) {
    out.integer(*token);
  } else {
    out.null();
  }
}

void write_finish(const ChoiceDelta& delta, JsonWriter& out) {
  out.key("finish_reason").string_or_null(finish_name(delta.finish));
  write_stop_reason(delta, out);
}

void write_token_ids(const AnswerHead& head, const ChoiceDelta& delta, JsonWriter& out) {
  if (!head.return_token_ids) {
    return;
  }
  out.key("token_ids").begin_array();
  for (const TokenId token : delta.token_ids) {
    out.integer(token);
  }
  out.end_array();
}

void write_logprobs(const AnswerHead& head, const ChoiceDelta& delta, JsonWriter& out) {
  out.key("logprobs");
  if (!head.logprobs || (delta.tokens.empty() && delta.text.empty() && delta.finish == Finish::kNone)) {
    out.null();
  } else if (head.kind == RequestKind::kChat) {
    write_chat_logprobs(delta.tokens, out);
  } else {
    write_completion_logprobs(delta.tokens, out);
  }
}

void write_tool_calls(const ChoiceDelta& delta, bool is_chunk, JsonWriter& out) {
  if (delta.tool_calls.empty()) {
    return;
  }
  out.key("tool_calls").begin_array();
  for (std::size_t i = 0; i < delta.tool_calls.size(); ++i) {
    const ToolCall& call = delta.tool_calls[i];
    out.begin_object();
    if (is_chunk) {
      out.key("index").integer(static_cast<std::int64_t>(i));
    }
    out.key("id").string(call.id).key("type").string("function");
    out.key("function").begin_object();
    out.key("name").string(call.name).key("arguments").string(call.arguments);
    out.end_object().end_object();
  }
  out.end_array();
}

void write_completion_choice(const AnswerHead& head, const ChoiceDelta& choice, JsonWriter& out) {
  out.key("index").integer(choice.index);
  out.key("text").string(choice.text);
  write_logprobs(head, choice, out);
  write_finish(choice, out);
  write_token_ids(head, choice, out);
}

void write_chat_choice(const AnswerHead& head, const ChoiceDelta& choice, JsonWriter& out) {
  out.key("index").integer(choice.index);
  out.key("message").begin_object();
  out.key("role").string("assistant");
  out.key("content");
  if (choice.text.empty() && !choice.tool_calls.empty()) {
    out.null();
  } else {
    out.string(choice.text);
  }
  out.key("refusal").null();
  write_tool_calls(choice, false, out);
  out.end_object();
  write_logprobs(head, choice, out);
  write_finish(choice, out);
  write_token_ids(head, choice, out);
}

void write_chat_chunk_choice(const AnswerHead& head, const ChoiceDelta& delta, JsonWriter& out) {
  out.key("index").integer(delta.index);
  out.key("delta").begin_object();
  if (!delta.text.empty() || delta.finish == Finish::kNone) {
    out.key("content").string(delta.text);
  }
  write_tool_calls(delta, true, out);
  out.end_object();
  write_logprobs(head, delta, out);
  write_finish(delta, out);
  write_token_ids(head, delta, out);
}

void append_event(JsonWriter& json, std::string& out) {
  out += "data: ";
  out += json.take();
  out += "\n\n";
}

void end_chunk(const AnswerHead& head, JsonWriter& json, std::string& out) {
  if (head.include_usage) {
    json.key("usage").null();
  }
  json.end_object();
  append_event(json, out);
}

}  // namespace

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kNone:
      return "";
    case Finish::kStop:
      return "stop";
    case Finish::kLength:
      return "length";
    case Finish::kToolCalls:
      return "tool_calls";
  }
  return "";
}

std::string write_answer(const AnswerHead& head, const Answer& answer) {
  const bool is_chat = head.kind == RequestKind::kChat;
  JsonWriter out;
  out.begin_object();
  write_head(head, false, out);
  out.key("choices").begin_array();
  for (const ChoiceDelta& choice : answer.choices) {
    out.begin_object();
    if (is_chat) {
      write_chat_choice(head, choice, out);
    } else {
      write_completion_choice(head, choice, out);
      const auto prompt = static_cast<std::size_t>(choice.index / answer.choices_per_prompt);
      if (prompt < answer.prompt_scores.size()) {
        write_prompt_logprobs(answer.prompt_scores[prompt], out.key("prompt_logprobs"));
      }
    }
    out.end_object();
  }
  out.end_array();
  write_usage(answer.usage, out);
  if (is_chat && !answer.prompt_scores.empty()) {
    write_prompt_logprobs(answer.prompt_scores.front(), out.key("prompt_logprobs"));
  }
  out.end_object();
  return out.take();
}

void append_role_chunk(const AnswerHead& head, std::int32_t index, std::string& out) {
  JsonWriter json;
  json.begin_object();
  write_head(head, true, json);
  json.key("choices").begin_array().begin_object();
  json.key("index").integer(index);
  json.key("delta").begin_object();
  json.key("role").string("assistant").key("content").string("");
  json.end_object();
  json.key("logprobs").null().key("finish_reason").null();
  json.end_object().end_array();
  end_chunk(head, json, out);
}

void append_delta_chunk(const AnswerHead& head, const ChoiceDelta& delta, std::string& out) {
  JsonWriter json;
  json.begin_object();
  write_head(head, true, json);
  json.key("choices").begin_array().begin_object();
  if (head.kind == RequestKind::kChat) {
    write_chat_chunk_choice(head, delta, json);
  } else {
    write_completion_choice(head, delta, json);
  }
  json.end_object().end_array();
  end_chunk(head, json, out);
}

void append_usage_chunk(const AnswerHead& head, const AnswerUsage& usage, std::string& out) {
  JsonWriter json;
  json.begin_object();
  write_head(head, true, json);
  json.key("choices").begin_array().end_array();
  write_usage(usage, json);
  json.end_object();
  append_event(json, out);
}

void append_error_event(const ApiError& error, std::string& out) {
  out += "data: ";
  out += write_error(error);
  out += "\n\n";
}

std::string write_model(const ModelCard& card) {
  JsonWriter out;
  out.begin_object();
  out.key("id").string(card.id);
  out.key("object").string("model");
  out.key("created").integer(card.created_s);
  out.key("owned_by").string("coppice");
  out.key("max_model_len").integer(card.model_tokens_max);
  out.end_object();
  return out.take();
}

std::string write_model_list(std::span<const ModelCard> cards) {
  JsonWriter out;
  out.begin_object();
  out.key("object").string("list");
  out.key("data").begin_array();
  for (const ModelCard& card : cards) {
    out.raw(write_model(card));
  }
  out.end_array().end_object();
  return out.take();
}

std::string write_tokenize(std::span<const TokenId> tokens, std::int64_t model_tokens_max,
                           const std::vector<std::string>* token_strs) {
  JsonWriter out;
  out.begin_object();
  out.key("count").integer(static_cast<std::int64_t>(tokens.size()));
  out.key("max_model_len").integer(model_tokens_max);
  out.key("tokens").begin_array();
  for (const TokenId token : tokens) {
    out.integer(token);
  }
  out.end_array();
  out.key("token_strs");
  if (token_strs == nullptr) {
    out.null();
  } else {
    out.begin_array();
    for (const std::string& piece : *token_strs) {
      out.string(piece);
    }
    out.end_array();
  }
  out.end_object();
  return out.take();
}

std::string write_detokenize(std::string_view text) {
  JsonWriter out;
  out.begin_object().key("prompt").string(text).end_object();
  return out.take();
}

}  // namespace coppice::openai
