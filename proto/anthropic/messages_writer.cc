// Message objects and events, in the order and with the members that Anthropic's own answers have.
#include "proto/anthropic/messages_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>
#include <vector>

#include "proto/anthropic/write_objects.h"
#include "proto/openai/json_writer.h"

namespace coppice::anthropic {
namespace {

using openai::AnswerUsage;
using openai::FinishReason;
using openai::JsonWriter;

// Clients send thinking back with its signature, which this server does not check; some drop thinking without one.
constexpr std::string_view kSignature = "coppice";

// A block of a whole answer.
struct WholeBlock {
  std::string_view type;
  std::string text;  // a tool's: its input
  const openai::ToolCallBegin* call = nullptr;
};

// The blocks of a whole answer, gathered from its items.
struct Blocks {
  void operator()(const openai::TextDelta& item) { grow("text", item.text); }
  void operator()(const openai::ReasoningDelta& item) { grow("thinking", item.text); }
  void operator()(const openai::ToolCallBegin& item) { list.push_back({"tool_use", "", &item}); }
  void operator()(const openai::ToolArgumentsDelta& item) { list.back().text += item.text; }
  void operator()(const openai::Finish& item) { finish = &item; }

  void grow(std::string_view type, const std::string& text) {
    if (text.empty()) {
      return;
    }
    if (list.empty() || list.back().type != type) {
      list.push_back({type, "", nullptr});
    }
    list.back().text += text;
  }

  std::vector<WholeBlock> list;
  const openai::Finish* finish = nullptr;
};

// A tool's input is an object; what a model wrote instead goes into one.
void write_input(const std::string& text, JsonWriter& out) {
  const nlohmann::json parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_object()) {
    out.raw(text);
  } else {
    out.begin_object();
    if (!text.empty()) {
      out.key("input").string(text);
    }
    out.end_object();
  }
}

void write_block(const WholeBlock& block, JsonWriter& out) {
  out.begin_object();
  out.key("type").string(block.type);
  if (block.call != nullptr) {
    out.key("id").string(block.call->id).key("name").string(block.call->name);
    write_input(block.text, out.key("input"));
  } else {
    out.key(block.type).string(block.text);
    if (block.type == "thinking") {
      out.key("signature").string(kSignature);
    }
  }
  out.end_object();
}

// What of the prompt was neither read from the cache nor put there to be kept is the input.
void write_usage(const AnswerUsage& usage, JsonWriter& out) {
  out.begin_object();
  out.key("input_tokens").integer(usage.prompt_tokens - usage.cached_tokens - usage.kept_write_tokens);
  out.key("cache_creation_input_tokens").integer(usage.kept_write_tokens);
  out.key("cache_read_input_tokens").integer(usage.cached_tokens);
  out.key("output_tokens").integer(usage.completion_tokens);
  out.end_object();
}

// `calls`: the answer calls tools; a call that the client named ends like any other here.
std::string_view stop_reason(const openai::Finish& finish, bool calls, const AnswerUsage& usage,
                             std::int64_t max_tokens) {
  if (calls && finish.reason == FinishReason::kStop && !std::holds_alternative<std::string>(finish.cause)) {
    return "tool_use";
  }
  switch (finish.reason) {
    case FinishReason::kToolCalls:
      return "tool_use";
    case FinishReason::kLength:
      return usage.completion_tokens < max_tokens ? "model_context_window_exceeded" : "max_tokens";
    case FinishReason::kStop:
      return std::holds_alternative<std::string>(finish.cause) ? "stop_sequence" : "end_turn";
  }
  return "";
}

void write_stop(const openai::Finish& finish, bool calls, const AnswerUsage& usage, std::int64_t max_tokens,
                JsonWriter& out) {
  out.key("stop_reason").string(stop_reason(finish, calls, usage, max_tokens));
  out.key("stop_sequence");
  if (const auto* const text = std::get_if<std::string>(&finish.cause)) {
    out.string(*text);
  } else {
    out.null();
  }
}

void write_head(const MessageHead& head, JsonWriter& out) {
  out.key("id").string(head.id).key("type").string("message").key("role").string("assistant");
  out.key("model").string(head.model);
}

JsonWriter begin_event(std::string_view type) {
  JsonWriter json;
  json.begin_object().key("type").string(type);
  return json;
}

void end_event(std::string_view type, JsonWriter& json, std::string& out) {
  json.end_object();
  out += "event: ";
  out += type;
  out += "\ndata: ";
  out += json.take();
  out += "\n\n";
}

}  // namespace

std::string MessagesWriter::whole(const openai::Answer& answer) const {
  Blocks blocks;
  for (const openai::ChoiceDelta& choice : answer.choices) {
    for (const openai::OutputItem& item : choice.items) {
      std::visit(blocks, item);
    }
  }
  JsonWriter out;
  out.begin_object();
  write_head(head_, out);
  out.key("content").begin_array();
  for (const WholeBlock& block : blocks.list) {
    write_block(block, out);
  }
  out.end_array();
  const bool calls = std::any_of(blocks.list.begin(), blocks.list.end(),
                                 [](const WholeBlock& block) { return block.call != nullptr; });
  write_stop(blocks.finish == nullptr ? openai::Finish() : *blocks.finish, calls, answer.usage, head_.max_tokens, out);
  write_usage(answer.usage, out.key("usage"));
  out.end_object();
  return out.take();
}

void MessagesWriter::append_begin(const AnswerUsage& known, std::string& out) {
  if (std::exchange(has_begun_, true)) {
    return;
  }
  JsonWriter json = begin_event("message_start");
  json.key("message").begin_object();
  write_head(head_, json);
  json.key("content").begin_array().end_array().key("stop_reason").null().key("stop_sequence").null();
  write_usage(known, json.key("usage"));
  json.end_object();
  end_event("message_start", json, out);
  append_ping(out);
}

void MessagesWriter::append_ping(std::string& out) {
  JsonWriter json = begin_event("ping");
  end_event("ping", json, out);
}

void MessagesWriter::begin_block(Block kind, const openai::ToolCallBegin* call, std::string& out) {
  end_block(out);
  block_ = kind;
  ++index_;
  JsonWriter json = begin_event("content_block_start");
  json.key("index").integer(index_).key("content_block").begin_object();
  if (call != nullptr) {
    json.key("type").string("tool_use").key("id").string(call->id).key("name").string(call->name);
    json.key("input").begin_object().end_object();
  } else if (kind == Block::kThinking) {
    json.key("type").string("thinking").key("thinking").string("").key("signature").string("");
  } else {
    json.key("type").string("text").key("text").string("");
  }
  json.end_object();
  end_event("content_block_start", json, out);
}

void MessagesWriter::append_piece(std::string_view type, std::string_view member, std::string_view text,
                                  std::string& out) const {
  JsonWriter json = begin_event("content_block_delta");
  json.key("index").integer(index_).key("delta").begin_object();
  json.key("type").string(type).key(member).string(text).end_object();
  end_event("content_block_delta", json, out);
}

void MessagesWriter::end_block(std::string& out) {
  if (block_ == Block::kNone) {
    return;
  }
  if (block_ == Block::kThinking) {
    append_piece("signature_delta", "signature", kSignature, out);
  }
  block_ = Block::kNone;
  JsonWriter json = begin_event("content_block_stop");
  json.key("index").integer(index_);
  end_event("content_block_stop", json, out);
}

void MessagesWriter::take(const openai::TextDelta& piece, std::string& out) {
  if (piece.text.empty()) {
    return;
  }
  if (block_ != Block::kText) {
    begin_block(Block::kText, nullptr, out);
  }
  append_piece("text_delta", "text", piece.text, out);
}

void MessagesWriter::take(const openai::ReasoningDelta& piece, std::string& out) {
  if (piece.text.empty()) {
    return;
  }
  if (block_ != Block::kThinking) {
    begin_block(Block::kThinking, nullptr, out);
  }
  append_piece("thinking_delta", "thinking", piece.text, out);
}

void MessagesWriter::take(const openai::ToolCallBegin& piece, std::string& out) {
  has_calls_ = true;
  begin_block(Block::kToolUse, &piece, out);
}

void MessagesWriter::take(const openai::ToolArgumentsDelta& piece, std::string& out) {
  append_piece("input_json_delta", "partial_json", piece.text, out);
}

void MessagesWriter::take(const openai::Finish& piece, std::string& out) {
  finish_ = piece;
  end_block(out);
}

void MessagesWriter::append_delta(const openai::ChoiceDelta& delta, std::string& out) {
  for (const openai::OutputItem& item : delta.items) {
    std::visit([&](const auto& piece) { take(piece, out); }, item);
  }
}

void MessagesWriter::append_end(const openai::Answer& answer, std::string& out) {
  end_block(out);
  JsonWriter json = begin_event("message_delta");
  json.key("delta").begin_object();
  write_stop(finish_, has_calls_, answer.usage, head_.max_tokens, json);
  json.end_object();
  write_usage(answer.usage, json.key("usage"));
  end_event("message_delta", json, out);
  JsonWriter stop = begin_event("message_stop");
  end_event("message_stop", stop, out);
}

void MessagesWriter::append_error(const openai::ApiError& error, std::string& out) {
  out += "event: error\ndata: ";
  out += write_error(error, head_.request_id);
  out += "\n\n";
}

}  // namespace coppice::anthropic
