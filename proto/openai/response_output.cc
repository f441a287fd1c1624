// One item is open at a time: the next kind of piece, or the next call, ends it.
#include "proto/openai/response_output.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

namespace coppice::openai {
namespace {

constexpr std::string_view kIdPrefix = "resp_";

std::string_view id_prefix(ResponseItem::Kind kind) {
  switch (kind) {
    case ResponseItem::Kind::kMessage:
      return "msg";
    case ResponseItem::Kind::kReasoning:
      return "rs";
    case ResponseItem::Kind::kCall:
      return "fc";
  }
  return "";
}

}  // namespace

ResponseOutput::ResponseOutput(std::string_view response_id)
    : base_(response_id.substr(response_id.starts_with(kIdPrefix) ? kIdPrefix.size() : 0)) {}

void ResponseOutput::begin(ResponseItem item, ResponseEvents* events) {
  close(events);
  const auto index = static_cast<std::int64_t>(items_.size());
  item.id = fmt::format("{}_{}_o{}", id_prefix(item.kind), base_, index);
  bytes_ += sizeof(item) + item.id.size() + item.call_id.size() + item.name.size();
  is_open_ = true;
  items_.push_back(std::move(item));
  if (events != nullptr) {
    events->item_begins(index, items_.back());
  }
}

void ResponseOutput::close(ResponseEvents* events) {
  if (!is_open_) {
    return;
  }
  is_open_ = false;
  items_.back().status = is_cut_ ? "incomplete" : "completed";
  if (events != nullptr) {
    events->item_ends(static_cast<std::int64_t>(items_.size()) - 1, items_.back());
  }
}

void ResponseOutput::grow(std::string_view text, const std::vector<TokenEntry>& tokens, ResponseEvents* events) {
  ResponseItem& item = items_.back();
  std::string logprobs;
  if (item.kind == ResponseItem::Kind::kMessage) {
    append_logprobs(tokens, logprobs);
  }
  if (events != nullptr && !(text.empty() && logprobs.empty())) {
    events->item_grows(static_cast<std::int64_t>(items_.size()) - 1, item, text, logprobs);
  }
  bytes_ += text.size() + logprobs.size();
  item.text += text;
  item.logprobs += item.logprobs.empty() || logprobs.empty() ? "" : ",";
  item.logprobs += logprobs;
}

void ResponseOutput::add_text(ResponseItem::Kind kind, std::string_view text, const std::vector<TokenEntry>& tokens,
                              ResponseEvents* events) {
  if (!is_open_ || items_.back().kind != kind) {
    ResponseItem item;
    item.kind = kind;
    begin(std::move(item), events);
  }
  grow(text, tokens, events);
}

void ResponseOutput::take(const TextDelta& piece, ResponseEvents* events) {
  add_text(ResponseItem::Kind::kMessage, piece.text, piece.tokens, events);
}

void ResponseOutput::take(const ReasoningDelta& piece, ResponseEvents* events) {
  add_text(ResponseItem::Kind::kReasoning, piece.text, piece.tokens, events);
}

void ResponseOutput::take(const ToolCallBegin& piece, ResponseEvents* events) {
  ResponseItem item;
  item.kind = ResponseItem::Kind::kCall;
  item.call_id = piece.id;
  item.name = piece.name;
  begin(std::move(item), events);
}

void ResponseOutput::take(const ToolArgumentsDelta& piece, ResponseEvents* events) {
  grow(piece.text, piece.tokens, events);
}

void ResponseOutput::take(const Finish& piece, ResponseEvents* events) {
  is_cut_ = piece.reason == FinishReason::kLength;
  close(events);
}

void ResponseOutput::add(const ChoiceDelta& delta, ResponseEvents* events) {
  for (const OutputItem& item : delta.items) {
    std::visit([&](const auto& piece) { take(piece, events); }, item);
  }
}

void ResponseOutput::end(ResponseEvents* events) {
  if (items_.empty()) {
    begin(ResponseItem(), events);
  }
  close(events);
}

}  // namespace coppice::openai
