// Tool calls in text.
#include "server/sessions/tool_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "proto/openai/json_reader.h"

namespace coppice::server {
namespace {

constexpr std::string_view kOpen = "<tool_call>";
constexpr std::string_view kClose = "</tool_call>";
constexpr std::string_view kSpace = " \t\r\n";

// Length of the longest end of `text` that is a beginning of kOpen.
std::size_t possible_open(std::string_view text) {
  for (std::size_t length = std::min(text.size(), kOpen.size() - 1); length > 0; --length) {
    if (text.ends_with(kOpen.substr(0, length))) {
      return length;
    }
  }
  return 0;
}

// {"name": string, "arguments" or "parameters": object}
std::optional<openai::ToolCall> parse_call(std::string_view text) {
  openai::Result<openai::Json> parsed = openai::parse_json(text, openai::RequestLimits{});
  if (!parsed.ok() || !parsed.value().is_object()) {
    return std::nullopt;
  }
  const openai::Json& object = parsed.value();
  const auto name = object.find("name");
  auto arguments = object.find("arguments");
  if (arguments == object.end()) {
    arguments = object.find("parameters");
  }
  if (name == object.end() || !name->is_string() || arguments == object.end()) {
    return std::nullopt;
  }
  openai::ToolCall call;
  call.name = name->get<std::string>();
  call.arguments = arguments->is_string() ? arguments->get<std::string>() : arguments->dump();
  return call;
}

// Every <tool_call> block, nothing but white space between them; nothing when any is malformed.
std::optional<std::vector<openai::ToolCall>> parse_blocks(std::string_view text) {
  std::vector<openai::ToolCall> calls;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty()) {
      return calls;
    }
    if (!text.starts_with(kOpen)) {
      return std::nullopt;
    }
    const std::size_t close = text.find(kClose);
    const std::size_t length = close == std::string_view::npos ? std::string_view::npos : close - kOpen.size();
    std::optional<openai::ToolCall> call = parse_call(text.substr(kOpen.size(), length));
    if (!call) {
      return std::nullopt;
    }
    calls.push_back(std::move(*call));
    text.remove_prefix(close == std::string_view::npos ? text.size() : close + kClose.size());
  }
}

}  // namespace

std::string ToolCallScanner::filter(std::string_view text) {
  if (!is_on_) {
    return std::string(text);
  }
  held_ += text;
  if (state_ == State::kStart) {
    const std::size_t first = held_.find_first_not_of(kSpace);
    if (first == std::string::npos) {
      return "";
    }
    state_ = held_[first] == '{' ? State::kCall : State::kText;
  }
  if (state_ == State::kCall) {
    return "";
  }
  std::size_t certain = held_.find(kOpen);
  if (certain != std::string::npos) {
    state_ = State::kCall;
  } else {
    certain = held_.size() - possible_open(held_);
  }
  std::string passed = held_.substr(0, certain);
  held_.erase(0, certain);
  return passed;
}

void ToolCallScanner::finish(openai::ChoiceDelta& delta) {
  const std::string held = std::exchange(held_, {});
  if (!is_on_ || held.empty()) {
    return;
  }
  const std::size_t first = std::min(held.find_first_not_of(kSpace), held.size());
  std::optional<std::vector<openai::ToolCall>> calls;
  if (std::string_view(held).substr(first).starts_with(kOpen)) {
    calls = parse_blocks(held);
  } else if (std::optional<openai::ToolCall> call = parse_call(held)) {
    calls.emplace().push_back(std::move(*call));
  }
  if (!calls || calls->empty()) {
    delta.text += held;
    return;
  }
  for (openai::ToolCall& call : *calls) {
    call.id = fmt::format("{}{}", call_id_prefix_, delta.tool_calls.size());
    delta.tool_calls.push_back(std::move(call));
  }
  if (delta.finish == openai::Finish::kStop) {
    delta.finish = openai::Finish::kToolCalls;
  }
}

}  // namespace coppice::server
