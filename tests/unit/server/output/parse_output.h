// Parsing of outputs that tests write down: a text, cut into tokens somehow, to what a client makes of the items.
#pragma once

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/output/output_parser.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {

// Special tokens in texts of tests: one character that no text has.
constexpr char kMarkBase = '\x01';
inline std::string mark(Terminal terminal) {
  return {static_cast<char>(kMarkBase + static_cast<char>(terminal))};
}
inline bool is_mark(char c) {
  return c >= kMarkBase && c <= kMarkBase + static_cast<char>(Terminal::kEndThink);
}

struct ParsedCall {
  std::string id;
  std::string name;
  std::string arguments;
  std::size_t tokens = 0;
};

struct ParsedOutput {
  std::string text;
  std::string reasoning;
  std::vector<ParsedCall> calls;
  std::vector<std::int64_t> entries;      // offsets of token entries, in the order in which they left
  std::vector<openai::OutputItem> items;  // joined
  std::vector<std::size_t> items_after;   // items out after each token
  openai::Finish finish;
  bool is_complete = false;
  OutputParser::Reasoning place;

  // What does not depend on ids: for comparison.
  std::string shown() const {
    std::string out = fmt::format("text {}\nreasoning {}\n", text, reasoning);
    for (const ParsedCall& call : calls) {
      out += fmt::format("call {} {} by {}\n", call.name, call.arguments, call.tokens);
    }
    for (const openai::OutputItem& item : items) {
      out += fmt::format("{}", item.index());
    }
    for (const std::int64_t entry : entries) {
      out += fmt::format(" {}", entry);
    }
    out += fmt::format("\nreason {}, reasoning to {}", static_cast<int>(finish.reason), place.end);
    return out + (is_complete ? ", complete" : "");
  }
};

struct CollectItems {
  void operator()(const openai::TextDelta& item) const { out.text += item.text; }
  void operator()(const openai::ReasoningDelta& item) const { out.reasoning += item.text; }
  void operator()(const openai::ToolCallBegin& item) const {
    REQUIRE(item.call == static_cast<std::int32_t>(out.calls.size()));
    out.calls.push_back({item.id, item.name, "", item.tokens.size()});
  }
  void operator()(const openai::ToolArgumentsDelta& item) const {
    REQUIRE(static_cast<std::size_t>(item.call) + 1 == out.calls.size());
    out.calls.back().arguments += item.text;
    out.calls.back().tokens += item.tokens.size();
  }
  void operator()(const openai::Finish& item) const { out.finish = item; }

  ParsedOutput& out;
};

inline openai::Json test_tools() {
  return openai::Json::parse(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{
      "city":{"type":"string"},"days":{"type":"integer"},"exact":{"type":"boolean"},
      "tags":{"type":"array","items":{"type":"string"}},"where":{"type":["object","null"]},
      "code":{"type":["string","null"]}}}}},
    {"type":"function","function":{"name":"now"}},
    {"type":"function","function":{"name":"a.b-c","parameters":{}}}])");
}

class OutputCase {
 public:
  OutputCase(std::string_view format, std::string_view reasoning, bool has_tools = true)
      : tokenizer_({"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>", "[THINK]", "[/THINK]", "<tool_call>",
                    "</tool_call>"}) {
    tool_format = find_tool_format(format);
    reasoning_format = find_reasoning_format(reasoning);
    REQUIRE(tool_format != nullptr);
    REQUIRE(reasoning_format != nullptr);
    request.kind = openai::RequestKind::kChat;
    setup.ids = CallIds(tool_format->has_short_ids);
    setup.start = ReasoningStart::kUnsaid;
    if (has_tools) {
      setup.tools = std::make_shared<const ToolSet>(test_tools());
    }
  }

  void use_special_tokens() {
    tokenizer_.more_special = {"[TOOL_CALLS]", "[ARGS]",   "[CALL_ID]",   "<|python_tag|>",
                               "[THINK]",      "[/THINK]", "<tool_call>", "</tool_call>"};
  }

  // `cuts`: ascending; where the text is cut into tokens. Every token has an entry.
  ParsedOutput parse(const std::string& text, const std::vector<std::size_t>& cuts,
                     openai::FinishReason reason = openai::FinishReason::kStop) {
    const OutputRules rules(*tool_format, *reasoning_format, tokenizer_);
    setup.rules = &rules;
    const std::unique_ptr<OutputParser> parser = make_output_parser(request, setup);
    ParsedOutput out;
    std::vector<openai::OutputItem> items;
    std::size_t begin = 0;
    std::int64_t characters = 0;
    for (std::size_t i = 0; i <= cuts.size() && !parser->is_complete(); ++i) {
      const std::size_t end = i < cuts.size() ? cuts[i] : text.size();
      push(*parser, std::string_view(text).substr(begin, end - begin), characters, items);
      begin = end;
      out.items_after.push_back(items.size());
    }
    openai::Finish finish;
    finish.reason = reason;
    out.is_complete = parser->is_complete();
    parser->end({}, finish, items);
    out.place = parser->reasoning();
    for (openai::OutputItem& item : items) {
      std::visit(CollectItems{out}, item);
      std::visit(
          [&out](const auto& any) {
            if constexpr (requires { any.tokens; }) {
              for (const openai::TokenEntry& entry : any.tokens) {
                out.entries.push_back(entry.text_offset);
              }
            }
          },
          item);
      append_item(out.items, std::move(item));
    }
    return out;
  }
  // One token for every `piece` bytes.
  ParsedOutput parse_by(const std::string& text, std::size_t piece,
                        openai::FinishReason reason = openai::FinishReason::kStop) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = piece; at < text.size(); at += piece) {
      cuts.push_back(at);
    }
    return parse(text, cuts, reason);
  }

  const ToolFormat* tool_format = nullptr;
  const ReasoningFormat* reasoning_format = nullptr;
  openai::GenerationRequest request;
  ParserSetup setup;

 private:
  // One entry a byte of text, so that how text is cut changes no entry.
  static void push(OutputParser& parser, std::string_view token, std::int64_t& characters,
                   std::vector<openai::OutputItem>& items) {
    openai::TextDelta delta;
    for (const char c : token) {
      if (is_mark(c)) {
        parser.push(std::exchange(delta, {}), items);
        parser.push_mark(static_cast<Terminal>(c - kMarkBase), items);
        continue;
      }
      openai::TokenEntry entry;
      entry.text_offset = characters;
      characters += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
      delta.tokens.push_back(std::move(entry));
      delta.text += c;
    }
    parser.push(std::move(delta), items);
  }

  text::TestTokenizer tokenizer_;
};

}  // namespace coppice::server
