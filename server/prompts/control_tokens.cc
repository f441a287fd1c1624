// Marks are Unicode noncharacters. In a user's text they are spellings like those of tokens, so no text can forge one.
#include "server/prompts/control_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "text/utf8.h"

namespace coppice::server {
namespace {

constexpr std::string_view kBegin = "\xEF\xB7\x90";  // U+FDD0
constexpr std::string_view kEnd = "\xEF\xB7\x91";    // U+FDD1

bool is_blank(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const text::Utf8Step step = text::utf8_step(text, at);
    if (!text::is_white_space(step.code_point)) {
      return false;
    }
    at += step.length;
  }
  return true;
}

bool is_word(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string mark_with(const text::AddedTokenMatcher& matcher, std::string_view text) {
  std::string marked;
  marked.reserve(text.size());
  const absl::Status status = matcher.split(text, true, {}, [&](const text::Section& section) {
    const std::string_view part = text.substr(section.begin, section.end - section.begin);
    if (section.id < 0) {
      marked += part;
    } else {
      marked.append(kBegin).append(part).append(kEnd);
    }
    return absl::OkStatus();
  });
  COPPICE_CHECK(status.ok(), "marking cannot fail");
  return marked;
}

}  // namespace

ControlTokens::ControlTokens(const jinja::ChatTemplate& chat_template, const text::TokenizerConfig& config,
                             const text::Tokenizer& tokenizer) {
  const auto is_control = [&](const std::string& spelling) {
    if (!config.chat_control_tokens) {
      return chat_template.writes(spelling) && !is_blank(spelling);
    }
    return std::find(config.chat_control_tokens->begin(), config.chat_control_tokens->end(), spelling) !=
           config.chat_control_tokens->end();
  };
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const text::TokenText token = tokenizer.token_text(id, false);
    if (!token.is_special && !token.is_added) {
      continue;
    }
    const std::string spelling = tokenizer.piece(id);
    if (!spelling.empty() && (token.is_special || is_control(spelling))) {
      add(spelling, token.is_special, is_word(spelling));
    }
  }
  for (const std::string_view mark : {kBegin, kEnd, kCut}) {
    add(std::string(mark), /*is_special=*/true, /*is_word=*/false);
  }
}

void ControlTokens::add(const std::string& spelling, bool is_special, bool is_word) {
  text::AddedToken token;
  token.content = spelling;
  token.id = static_cast<TokenId>(spellings_.size());
  all_.add(spelling, token);
  if (is_special) {
    special_.add(spelling, token);
  }
  if (!is_word) {
    names_.add(spelling, token);
  }
  spellings_.insert(spelling);
  longest_ = std::max(longest_, spelling.size());
}

std::string ControlTokens::mark_text(std::string_view text, Writer writer) const {
  return mark_with(writer == Writer::kAssistant ? special_ : all_, text);
}

openai::Json ControlTokens::mark(const openai::Json& value, Writer writer) const {
  if (value.is_string()) {
    return mark_text(value.get_ref<const std::string&>(), writer);
  }
  if (!value.is_structured()) {
    return value;
  }
  openai::Json copy(value.type());
  if (value.is_array()) {
    auto& items = copy.get_ref<openai::Json::array_t&>();
    items.reserve(value.size());
    for (const openai::Json& item : value) {
      items.push_back(mark(item, writer));
    }
    return copy;
  }
  auto& members = copy.get_ref<openai::Json::object_t&>();
  members.reserve(value.size());
  for (const auto& [name, item] : value.items()) {
    members.emplace_back(mark_with(names_, name), mark(item, writer));
  }
  return copy;
}

ControlTokens::Unmarked ControlTokens::unmark(std::string_view rendered) const {
  Unmarked out;
  out.text.reserve(rendered.size());
  const auto add_range = [&out](std::size_t begin) {
    if (out.plain.empty() || out.plain.back().end < out.text.size()) {
      out.plain.push_back({begin, out.text.size()});
    }
  };
  // The spelling between a begin at `at` and its end; empty when it is torn.
  const auto spelling_at = [&](std::size_t at) {
    const std::string_view rest = rendered.substr(at + kBegin.size(), longest_ + kEnd.size());
    for (std::size_t end = rest.find(kEnd); end != std::string_view::npos; end = rest.find(kEnd, end + 1)) {
      if (spellings_.contains(rest.substr(0, end))) {
        return rest.substr(0, end);
      }
    }
    return std::string_view();
  };
  constexpr std::string_view kLead = "\xEF\xB7";  // both marks begin so
  for (std::size_t at = 0; at < rendered.size();) {
    const std::size_t next = std::min(rendered.find(kLead, at), rendered.size());
    out.text += rendered.substr(at, next - at);
    at = next;
    const std::string_view mark = rendered.substr(at, kBegin.size());
    if (mark != kBegin && mark != kEnd) {
      const std::size_t length = std::min(kBegin.size(), rendered.size() - at);
      out.text += rendered.substr(at, length);
      at += length;
      continue;
    }
    const std::string_view spelling = mark == kBegin ? spelling_at(at) : std::string_view();
    const std::size_t begin = out.text.size();
    out.text += spelling;
    add_range(begin);
    at += spelling.empty() ? mark.size() : kBegin.size() + spelling.size() + kEnd.size();
  }
  return out;
}

}  // namespace coppice::server
