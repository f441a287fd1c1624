// Grammars of calls, compiled for a tokenizer of bytes, and what the formats' parsers make of what they take.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/openai/json_reader.h"
#include "server/output/call_grammar.h"
#include "server/output/output_parser.h"
#include "tests/unit/text/grammar/byte_tokenizer.h"
#include "text/grammar/grammar.h"

namespace coppice::server {

// Bytes, and the marks of the formats, special or not.
class MarkTokenizer final : public text::ByteTokenizer {
 public:
  explicit MarkTokenizer(bool are_special) : ByteTokenizer(kMarks), are_special_(are_special) {}

  std::optional<TokenId> token_to_id(std::string_view piece) const override {
    for (std::size_t i = 0; i < kMarks.size(); ++i) {
      if (kMarks[i] == piece) {
        return kByteCount + static_cast<TokenId>(i);
      }
    }
    return std::nullopt;
  }
  bool is_special(TokenId id) const override { return ByteTokenizer::is_special(id) || (are_special_ && is_mark(id)); }
  text::TokenText token_text(TokenId id, bool is_first) const override {
    text::TokenText text = ByteTokenizer::token_text(id, is_first);
    text.is_special = is_special(id);
    return text;
  }
  bool is_mark(TokenId id) const { return id >= kByteCount && id < kByteCount + static_cast<TokenId>(kMarks.size()); }

 private:
  static inline const std::vector<std::string> kMarks = {"[TOOL_CALLS]", "[ARGS]", "<tool_call>", "</tool_call>"};
  const bool are_special_;
};

inline openai::Json tools_of_calls(bool is_strict) {
  openai::Json list = openai::Json::parse(R"([
    {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{
      "city":{"type":"string"},"days":{"type":"integer"},"unit":{"type":"string","enum":["C","F"]},
      "tags":{"type":"array","items":{"type":"boolean"}}},"required":["city"],"additionalProperties":false}}},
    {"type":"function","function":{"name":"now"}},
    {"type":"function","function":{"name":"notes","parameters":{"type":"object","properties":{
      "a":{"type":["string","null"]},"b":{"$ref":"#/$defs/B"}},"$defs":{"B":{"type":"object","properties":{
      "n":{"type":"number"}},"required":["n"],"additionalProperties":false}},"additionalProperties":false}}}])");
  for (openai::Json& tool : list) {
    tool["function"]["strict"] = is_strict;
  }
  return list;
}

struct HeldCalls {
  HeldCalls(std::string_view format, bool are_special)
      : tokenizer(are_special), rules(*find_tool_format(format), *find_reasoning_format("none"), tokenizer) {
    text::GrammarOptions options;
    for (const MarkToken& mark : rules.marks()) {
      options.marks.push_back(mark.token);
    }
    compiler =
        text::GrammarCompiler::create(tokenizer, tokenizer.vocab_size(), tokenizer.end_tokens(), options).value();
    request.kind = openai::RequestKind::kChat;
    request.chat.tools = std::make_shared<const openai::Json>(tools_of_calls(true));
    request.chat.has_tools = true;
  }

  text::CompiledGrammar compile() const {
    REQUIRE(needs_call_grammar(request.chat, {}, rules));
    const openai::Result<CallGrammar> tag = call_grammar(rules, request.chat);
    REQUIRE(tag.ok());
    const absl::StatusOr<text::CompiledGrammar> grammar =
        compiler->compile({text::GrammarKind::kStructuralTag, tag.value().tag});
    INFO(tag.value().tag << "\n" << grammar.status());
    REQUIRE(grammar.ok());
    return *grammar;
  }

  // Text with marks to tokens.
  std::vector<TokenId> encode(std::string_view text) const {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      TokenId id = static_cast<unsigned char>(text.front());
      std::size_t bytes = 1;
      for (TokenId mark = text::ByteTokenizer::kByteCount; tokenizer.is_mark(mark); ++mark) {
        const std::string piece = tokenizer.piece(mark);
        if (text.starts_with(piece) && tokenizer.is_special(mark)) {
          id = mark;
          bytes = piece.size();
        }
      }
      ids.push_back(id);
      text.remove_prefix(bytes);
    }
    return ids;
  }

  struct Parsed {
    std::string text;
    std::vector<std::pair<std::string, std::string>> calls;
  };
  Parsed parse(const std::vector<TokenId>& ids, CallHold hold = CallHold::kNone) const {
    ParserSetup setup;
    setup.hold = hold;
    setup.rules = &rules;
    setup.tools = std::make_shared<const ToolSet>(*request.chat.tools);
    const std::unique_ptr<OutputParser> parser = make_output_parser(request, setup);
    std::vector<openai::OutputItem> items;
    for (const TokenId id : ids) {
      if (const std::optional<Terminal> mark = parser->mark_of(id)) {
        parser->push_mark(*mark, items);
      } else {
        parser->push({tokenizer.piece(id)}, items);
      }
    }
    parser->end({}, {}, items);
    Parsed out;
    for (const openai::OutputItem& item : items) {
      if (const auto* const text = std::get_if<openai::TextDelta>(&item)) {
        out.text += text->text;
      } else if (const auto* const begin = std::get_if<openai::ToolCallBegin>(&item)) {
        out.calls.emplace_back(begin->name, "");
      } else if (const auto* const arguments = std::get_if<openai::ToolArgumentsDelta>(&item)) {
        out.calls.back().second += arguments->text;
      }
    }
    return out;
  }

  bool accepts(const text::CompiledGrammar& grammar, std::string_view text) const {
    text::GrammarMatcher matcher = text::GrammarMatcher::create(grammar).value();
    for (const TokenId id : encode(text)) {
      if (!matcher.accept(id).value()) {
        return false;
      }
    }
    return matcher.is_finished();
  }

  MarkTokenizer tokenizer;
  OutputRules rules;
  std::unique_ptr<text::GrammarCompiler> compiler;
  openai::GenerationRequest request;
};

}  // namespace coppice::server
