// ControlTokens: keeps the tokens that structure a prompt apart from text that only spells them. Before a template is
// rendered every spelling in what users sent is put between two marks; templates still find the spelling in it. After
// rendering, the marks say which parts of the prompt must not become control tokens.
//
// Control tokens, as in transformers: special tokens, and of the other added tokens those that the tokenizer's
// configuration names (chat_control_tokens), else those that a literal of the template contains, except white space.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/request.h"
#include "text/jinja/chat_template.h"
#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::server {

// Owner: a chat template's prompter. Immutable; any thread.
class ControlTokens {
 public:
  // A character of ours in a text that is rendered: what a user writes never becomes it. Templates do not trim it.
  static constexpr std::string_view kCut = "\xEF\xB7\x92";  // U+FDD2

  ControlTokens(const jinja::ChatTemplate& chat_template, const text::TokenizerConfig& config,
                const text::Tokenizer& tokenizer);

  // Whose text it is. What an assistant said may hold control tokens that are not special ("<think>"): the model wrote
  // them as tokens, and templates take its text apart by them.
  enum class Writer : std::uint8_t { kUser, kAssistant };

  std::string mark_text(std::string_view text, Writer writer) const;
  // A copy of `value` with every text in it marked. REQUIRES: bounded depth.
  openai::Json mark(const openai::Json& value, Writer writer) const;

  struct Unmarked {
    std::string text;
    std::vector<text::TextRange> plain;  // as text::EncodeOptions::plain
  };
  // Takes the marks out. Linear. Marks that a template tore apart vanish, and no token forms over their place.
  Unmarked unmark(std::string_view rendered) const;

 private:
  void add(const std::string& spelling, bool is_special, bool is_word);

  text::AddedTokenMatcher all_;
  text::AddedTokenMatcher special_;
  text::AddedTokenMatcher names_;  // those that no programmer would name a key by
  std::set<std::string, std::less<>> spellings_;
  std::size_t longest_ = 0;  // bytes
};

}  // namespace coppice::server
