// chat.completion and chat.completion.chunk objects.
#include "proto/openai/chat_writer.h"

#include <span>
#include <variant>

#include "proto/openai/write_logprobs.h"

namespace coppice::openai {
namespace {

constexpr std::string_view kObject = "chat.completion";
constexpr std::string_view kChunkObject = "chat.completion.chunk";

// A call's part of one object: `begin` is null when the call began in an earlier chunk.
struct CallFields {
  std::int32_t call = 0;
  const ToolCallBegin* begin = nullptr;
  std::string arguments;
};

// The fields of a message or of a chunk's delta, gathered from its items.
struct Fields {
  void operator()(const TextDelta& item) {
    content += item.text;
    add_entries(item.tokens, tokens);
  }
  void operator()(const ReasoningDelta& item) {
    reasoning += item.text;
    add_entries(item.tokens, tokens);
  }
  void operator()(const ToolCallBegin& item) {
    calls.push_back({item.call, &item, {}});
    add_entries(item.tokens, tokens);
  }
  void operator()(const ToolArgumentsDelta& item) {
    if (calls.empty() || calls.back().call != item.call) {
      calls.push_back({item.call, nullptr, {}});
    }
    calls.back().arguments += item.text;
    add_entries(item.tokens, tokens);
  }
  void operator()(const Finish& item) { finish = &item; }

  bool has_text() const { return !content.empty() || !reasoning.empty(); }

  std::string content;
  std::string reasoning;
  std::vector<CallFields> calls;
  EntryList tokens;
  const Finish* finish = nullptr;
};

Fields gather(std::span<const OutputItem> items) {
  Fields fields;
  for (const OutputItem& item : items) {
    std::visit(fields, item);
  }
  return fields;
}

void write_reasoning(const Fields& fields, JsonWriter& out) {
  if (!fields.reasoning.empty()) {
    out.key("reasoning_content").string(fields.reasoning);  // as SGLang, llama.cpp and DeepSeek
    out.key("reasoning").string(fields.reasoning);          // as vLLM
  }
}

// The answer to a request with `functions`: at most one call.
void write_function_call(const CallFields& call, JsonWriter& out) {
  out.key("function_call").begin_object();
  if (call.begin != nullptr) {
    out.key("name").string(call.begin->name);
  }
  out.key("arguments").string(call.arguments);
  out.end_object();
}

void write_tool_calls(const AnswerHead& head, const Fields& fields, bool is_chunk, JsonWriter& out) {
  if (fields.calls.empty()) {
    return;
  }
  if (head.has_functions) {
    write_function_call(fields.calls.front(), out);
    return;
  }
  out.key("tool_calls").begin_array();
  for (const CallFields& call : fields.calls) {
    out.begin_object();
    if (is_chunk) {
      out.key("index").integer(call.call);
    }
    if (call.begin != nullptr) {
      out.key("id").string(call.begin->id).key("type").string("function");
    }
    out.key("function").begin_object();
    if (call.begin != nullptr) {
      out.key("name").string(call.begin->name);
    }
    out.key("arguments").string(call.arguments);
    out.end_object().end_object();
  }
  out.end_array();
}

// What follows the message or the delta.
void write_rest(const AnswerHead& head, const Fields& fields, bool has_logprobs, JsonWriter& out) {
  out.key("logprobs");
  if (head.logprobs && has_logprobs) {
    write_chat_logprobs(fields.tokens, head.tokens_as_ids ? TokenNames::kIds : TokenNames::kText, out);
  } else {
    out.null();
  }
  write_finish(head, fields.finish, out);
}

void write_choice(const AnswerHead& head, const ChoiceDelta& choice, JsonWriter& out) {
  const Fields fields = gather(choice.items);
  out.key("index").integer(choice.index);
  out.key("message").begin_object();
  out.key("role").string("assistant");
  out.key("content");
  if (fields.content.empty() && !fields.calls.empty()) {
    out.null();
  } else {
    out.string(fields.content);
  }
  out.key("refusal").null();
  write_reasoning(fields, out);
  write_tool_calls(head, fields, /*is_chunk=*/false, out);
  out.end_object();
  write_rest(head, fields, !fields.tokens.empty() || fields.has_text() || fields.finish != nullptr, out);
  write_token_ids(head, choice, out);
}

void write_chunk_choice(const AnswerHead& head, std::int32_t index, const Fields& fields, JsonWriter& out) {
  const bool has_other = !fields.reasoning.empty() || !fields.calls.empty() || fields.finish != nullptr;
  out.key("index").integer(index);
  out.key("delta").begin_object();
  if (!fields.content.empty() || !has_other) {
    out.key("content").string(fields.content);
  }
  write_reasoning(fields, out);
  write_tool_calls(head, fields, /*is_chunk=*/true, out);
  out.end_object();
  write_rest(head, fields, !fields.tokens.empty() || fields.has_text(), out);
}

}  // namespace

std::string ChatWriter::whole(const Answer& answer) const {
  JsonWriter out;
  out.begin_object();
  write_head(head_, kObject, out);
  out.key("choices").begin_array();
  for (const ChoiceDelta& choice : answer.choices) {
    out.begin_object();
    write_choice(head_, choice, out);
    out.end_object();
  }
  out.end_array();
  write_usage(answer, out);
  if (!answer.prompt_scores.empty()) {
    write_prompt_logprobs(answer.prompt_scores.front(), out.key("prompt_logprobs"));
  }
  out.end_object();
  return out.take();
}

void ChatWriter::append_role(const ChoiceDelta& delta, std::string& out) const {
  JsonWriter json;
  json.begin_object();
  write_head(head_, kChunkObject, json);
  json.key("choices").begin_array().begin_object();
  json.key("index").integer(delta.index);
  json.key("delta").begin_object();
  json.key("role").string("assistant").key("content").null();
  json.end_object();
  json.key("logprobs").null().key("finish_reason").null();
  json.end_object().end_array();
  end_chunk(head_, delta, json, out);
}

// `item` is null for a delta that has token ids alone.
void ChatWriter::append_chunk(const ChoiceDelta& delta, const OutputItem* item, bool has_token_ids,
                              std::string& out) const {
  const Fields fields = gather({item, item == nullptr ? 0U : 1U});
  JsonWriter json;
  json.begin_object();
  write_head(head_, kChunkObject, json);
  json.key("choices").begin_array().begin_object();
  write_chunk_choice(head_, delta.index, fields, json);
  if (has_token_ids) {
    write_token_ids(head_, delta, json);
  }
  json.end_object().end_array();
  end_chunk(head_, delta, json, out);
}

void ChatWriter::append_delta(const ChoiceDelta& delta, std::string& out) {
  const auto index = static_cast<std::size_t>(delta.index);
  if (index >= has_role_.size()) {
    has_role_.resize(index + 1, false);
  }
  if (!has_role_[index]) {
    has_role_[index] = true;
    append_role(delta, out);
  }
  if (delta.items.empty()) {
    append_chunk(delta, nullptr, /*has_token_ids=*/true, out);
  }
  for (const OutputItem& item : delta.items) {
    append_chunk(delta, &item, /*has_token_ids=*/&item == delta.items.data(), out);
  }
}

void ChatWriter::append_end(const Answer& answer, std::string& out) {
  append_stream_end(head_, kChunkObject, answer, out);
}

void ChatWriter::append_error(const ApiError& error, std::string& out) {
  append_stream_error(error, out);
}

}  // namespace coppice::openai
