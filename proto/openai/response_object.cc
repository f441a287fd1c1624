// Field order as in OpenAI's own answers.
#include "proto/openai/response_object.h"

#include "proto/openai/write_logprobs.h"

namespace coppice::openai {
namespace {

// OpenAI's codes of failed responses, of which this server has three.
std::string_view error_code(const ApiError& error) {
  return error.status == kOverloadedStatus ? "rate_limit_exceeded"
         : error.status < 500              ? "invalid_prompt"
                                           : "server_error";
}

void write_response_usage(const AnswerUsage& usage, JsonWriter& out) {
  out.begin_object();
  out.key("input_tokens").integer(usage.prompt_tokens);
  out.key("input_tokens_details").begin_object();
  out.key("cached_tokens").integer(usage.cached_tokens);
  out.key("cache_write_tokens").integer(usage.cache_write_tokens);
  out.end_object();
  out.key("output_tokens").integer(usage.completion_tokens);
  out.key("output_tokens_details").begin_object();
  out.key("reasoning_tokens").integer(usage.reasoning_tokens);
  out.end_object();
  out.key("total_tokens").integer(usage.prompt_tokens + usage.completion_tokens);
  out.end_object();
}

void write_error_member(const ApiError* error, JsonWriter& out) {
  out.key("error");
  if (error == nullptr) {
    out.null();
    return;
  }
  out.begin_object();
  out.key("code").string(error_code(*error)).key("message").string(bounded_message(error->message));
  out.end_object();
}

}  // namespace

void append_logprobs(const std::vector<TokenEntry>& tokens, std::string& out) {
  for (const TokenEntry& entry : tokens) {
    JsonWriter json;
    write_chat_entry(entry, TokenNames::kText, json);
    out += out.empty() ? "" : ",";
    out += json.take();
  }
}

void write_logprobs(std::string_view entries, JsonWriter& out) {
  out.begin_array();
  if (!entries.empty()) {
    out.raw(entries);
  }
  out.end_array();
}

void write_part(const ResponseItem& item, JsonWriter& out) {
  out.begin_object();
  if (item.kind == ResponseItem::Kind::kReasoning) {
    out.key("type").string("reasoning_text").key("text").string(item.text);
  } else {
    out.key("type").string("output_text").key("text").string(item.text);
    out.key("annotations").begin_array().end_array();
    write_logprobs(item.logprobs, out.key("logprobs"));
  }
  out.end_object();
}

void write_item(const ResponseItem& item, JsonWriter& out) {
  const bool has_begun = !item.text.empty() || item.status != std::string_view("in_progress");
  out.begin_object();
  out.key("id").string(item.id);
  switch (item.kind) {
    case ResponseItem::Kind::kMessage:
      out.key("type").string("message").key("status").string(item.status).key("role").string("assistant");
      break;
    case ResponseItem::Kind::kReasoning:
      out.key("type").string("reasoning").key("status").string(item.status);
      out.key("summary").begin_array().end_array();
      break;
    case ResponseItem::Kind::kCall:
      out.key("type").string("function_call").key("status").string(item.status);
      out.key("call_id").string(item.call_id).key("name").string(item.name).key("arguments").string(item.text);
      out.end_object();
      return;
  }
  out.key("content").begin_array();
  if (has_begun) {
    write_part(item, out);
  }
  out.end_array().end_object();
}

std::string write_items(const std::vector<ResponseItem>& items) {
  JsonWriter out;
  out.begin_array();
  for (const ResponseItem& item : items) {
    write_item(item, out);
  }
  out.end_array();
  return out.take();
}

std::string write_response(const ResponseHead& head, const ResponseState& state) {
  JsonWriter out;
  out.begin_object();
  out.key("id").string(head.id).key("object").string("response").key("created_at").integer(head.created_s);
  out.key("status").string(state.status);
  out.key("completed_at");
  state.completed_s == 0 ? out.null() : out.integer(state.completed_s);
  write_error_member(state.error, out);
  out.key("incomplete_details");
  if (state.status == "incomplete") {
    out.begin_object().key("reason").string("max_output_tokens").end_object();
  } else {
    out.null();
  }
  out.key("model").string(head.model);
  out.key("output").raw(state.items == nullptr ? "[]" : write_items(*state.items));
  for (const auto& [name, json] : head.echo) {
    out.key(name).raw(json);
  }
  out.key("usage");
  if (state.usage == nullptr) {
    out.null();
  } else {
    write_response_usage(*state.usage, out);
  }
  out.end_object();
  return out.take();
}

std::string write_item_list(std::span<const Json> items, bool has_more) {
  JsonWriter out;
  out.begin_object().key("object").string("list").key("data").begin_array();
  for (const Json& item : items) {
    out.raw(write_json(item));
  }
  out.end_array();
  out.key("first_id").string(items.empty() ? std::string() : items.front()["id"].get<std::string>());
  out.key("last_id").string(items.empty() ? std::string() : items.back()["id"].get<std::string>());
  out.key("has_more").boolean(has_more);
  out.end_object();
  return out.take();
}

std::string write_input_tokens(std::int64_t tokens) {
  JsonWriter out;
  out.begin_object().key("object").string("response.input_tokens").key("input_tokens").integer(tokens).end_object();
  return out.take();
}

std::string write_response_deleted(std::string_view id) {
  JsonWriter out;
  out.begin_object().key("id").string(id).key("object").string("response.deleted").key("deleted").boolean(true);
  out.end_object();
  return out.take();
}

}  // namespace coppice::openai
