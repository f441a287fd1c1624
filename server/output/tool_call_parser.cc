// Tool calls in text.
#include "server/output/tool_call_parser.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "proto/openai/json_reader.h"
#include "server/output/token_entry.h"

namespace coppice::server {
namespace {

constexpr std::string_view kOpen = "<tool_call>";
constexpr std::string_view kClose = "</tool_call>";
constexpr std::string_view kSpace = " \t\r\n";

// A call found in held text.
struct FoundCall {
  std::string name;
  std::string arguments;  // JSON text
  std::size_t bytes = 0;  // of held text that made the call: white space before it and its marks included
};

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
std::optional<FoundCall> parse_call(std::string_view text) {
  openai::Result<openai::Json> parsed = openai::parse_json(text, openai::RequestLimits{}, "the call");
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
  FoundCall call;
  call.name = name->get<std::string>();
  // As the model wrote them: numbers keep their digits.
  call.arguments =
      arguments->is_string() ? arguments->get<std::string>() : std::string(openai::member_text(text, arguments.key()));
  call.bytes = text.size();
  return call;
}

// Every <tool_call> block, nothing but white space between them; empty when any is malformed. The last block may lack
// its closing mark: a stop string may have been it.
std::vector<FoundCall> parse_blocks(std::string_view text) {
  std::vector<FoundCall> calls;
  while (true) {
    const std::size_t blank = std::min(text.find_first_not_of(kSpace), text.size());
    if (blank == text.size()) {
      return calls;
    }
    const std::string_view block = text.substr(blank);
    if (!block.starts_with(kOpen)) {
      return {};
    }
    const std::size_t close = block.find(kClose);
    const std::size_t end = close == std::string_view::npos ? block.size() : close + kClose.size();
    std::optional<FoundCall> call = parse_call(block.substr(0, close).substr(kOpen.size()));
    if (!call) {
      return {};
    }
    call->bytes = blank + end;
    calls.push_back(std::move(*call));
    text.remove_prefix(blank + end);
  }
}

std::vector<FoundCall> find_calls(std::string_view text) {
  const std::size_t first = std::min(text.find_first_not_of(kSpace), text.size());
  if (text.substr(first).starts_with(kOpen)) {
    return parse_blocks(text);
  }
  std::vector<FoundCall> calls;
  if (std::optional<FoundCall> call = parse_call(text)) {
    calls.push_back(std::move(*call));
  }
  return calls;
}

}  // namespace

void ToolCallParser::hold(openai::TextDelta text) {
  held_.text += text.text;
  held_.tokens.insert(held_.tokens.end(), std::make_move_iterator(text.tokens.begin()),
                      std::make_move_iterator(text.tokens.end()));
}

// Bytes of held text that are certainly not part of a call.
std::size_t ToolCallParser::certain_bytes() {
  if (state_ == State::kStart) {
    const std::size_t first = held_.text.find_first_not_of(kSpace, blank_bytes_);
    if (first == std::string::npos) {
      blank_bytes_ = held_.text.size();
      return 0;
    }
    state_ = held_.text[first] == '{' ? State::kCall : State::kText;
  }
  if (state_ == State::kCall) {
    return 0;
  }
  const std::size_t open = held_.text.find(kOpen);
  if (open != std::string::npos) {
    state_ = State::kCall;
    return open;
  }
  return held_.text.size() - possible_open(held_.text);
}

// The first `bytes` of held text with the tokens that begin in them; all that is held with all tokens.
openai::TextDelta ToolCallParser::take_held(std::size_t bytes) {
  if (bytes == held_.text.size()) {
    characters_taken_ += count_characters(held_.text);
    return std::exchange(held_, {});
  }
  openai::TextDelta taken;
  taken.text = held_.text.substr(0, bytes);
  held_.text.erase(0, bytes);
  characters_taken_ += count_characters(taken.text);
  const auto end = std::find_if(held_.tokens.begin(), held_.tokens.end(), [this](const openai::TokenEntry& entry) {
    return entry.text_offset >= characters_taken_;
  });
  taken.tokens.assign(std::make_move_iterator(held_.tokens.begin()), std::make_move_iterator(end));
  held_.tokens.erase(held_.tokens.begin(), end);
  return taken;
}

void ToolCallParser::push(TokenId /*token*/, openai::TextDelta text, std::vector<openai::OutputItem>& items) {
  hold(std::move(text));
  const std::size_t certain = certain_bytes();
  if (certain == 0 && (state_ != State::kText || !held_.text.empty())) {
    return;
  }
  append_item(items, take_held(certain));
}

void ToolCallParser::end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) {
  hold(std::move(rest));
  const std::vector<FoundCall> calls = find_calls(held_.text);
  std::string_view left = held_.text;
  auto tokens = held_.tokens.begin();  // of `left`
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const bool is_last = i + 1 == calls.size();
    const std::size_t bytes = is_last ? left.size() : calls[i].bytes;
    characters_taken_ += count_characters(left.substr(0, bytes));
    left.remove_prefix(bytes);
    const auto end = is_last ? held_.tokens.end() : std::find_if(tokens, held_.tokens.end(), [this](const auto& entry) {
      return entry.text_offset >= characters_taken_;
    });
    openai::ToolCallBegin begin;
    begin.call = static_cast<std::int32_t>(i);
    begin.id = ids_.next();
    begin.name = calls[i].name;
    begin.tokens.assign(std::make_move_iterator(tokens), std::make_move_iterator(end));
    tokens = end;
    items.emplace_back(std::move(begin));
    items.emplace_back(openai::ToolArgumentsDelta{static_cast<std::int32_t>(i), calls[i].arguments});
  }
  if (calls.empty()) {
    append_item(items, take_held(held_.text.size()));
  } else if (finish.reason == openai::FinishReason::kStop) {
    finish.reason = openai::FinishReason::kToolCalls;
  }
  items.emplace_back(std::move(finish));
}

}  // namespace coppice::server
