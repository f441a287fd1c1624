// The outer lexer: text, tags, comments, raw blocks and whitespace control. What stands inside a tag is cut up by
// tag_lexer.cc.
#include "text/jinja/lexer.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/tag_lexer.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

absl::Status error_at_line(int line, std::string_view message) {
  return absl::InvalidArgumentError(fmt::format("chat template line {}: {}", line, message));
}

namespace {

int count_lines(std::string_view text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

// Line ends become "\n", and one at the end of the template is dropped (keep_trailing_newline is off).
std::string normalize(std::string_view source) {
  std::string result = normalize_newlines(source);
  if (result.ends_with('\n')) {
    result.pop_back();
  }
  return result;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> run() {
    while (position_ < source_.size()) {
      COPPICE_RETURN_IF_ERROR(next_piece());
    }
    tokens_.push_back({TokenKind::kEnd, line_, ""});
    return std::move(tokens_);
  }

 private:
  // Text up to the next tag, and that tag.
  absl::Status next_piece() {
    std::size_t begin = position_;
    for (;; ++begin) {
      begin = source_.find('{', begin);
      if (begin == std::string_view::npos || begin + 1 >= source_.size()) {
        add_text(source_.substr(position_));
        position_ = source_.size();
        return absl::OkStatus();
      }
      const char kind = source_[begin + 1];
      if (kind == '%' || kind == '{' || kind == '#') {
        break;
      }
    }
    std::size_t inside = begin + 2;
    const char sign = inside < source_.size() ? source_[inside] : '\0';
    if (sign == '-' || sign == '+') {
      ++inside;
    }
    const char kind = source_[begin + 1];
    add_text_before_tag(source_.substr(position_, begin - position_), sign, kind != '{');
    position_ = inside;
    switch (kind) {
      case '#':
        return comment();
      case '{':
        return inner(TokenKind::kOutputBegin, TokenKind::kOutputEnd, "}}", Trim::kNone);
      default:
        return raw_begins() ? raw() : inner(TokenKind::kTagBegin, TokenKind::kTagEnd, "%}", Trim::kNewline);
    }
  }

  void add_text(std::string_view text) {
    if (!text.empty()) {
      tokens_.push_back({TokenKind::kText, line_, std::string(text)});
    }
    advance_lines(text);
  }

  // lstrip_blocks: blanks between the start of a line and a tag go, unless the tag says "+"; with "-" all whitespace
  // before the tag goes.
  void add_text_before_tag(std::string_view text, char sign, bool may_strip_line) {
    std::string_view kept = text;
    if (sign == '-') {
      kept = strip_right(text);
    } else if (sign != '+' && may_strip_line) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && strip_left(text.substr(start)).empty()) {
        kept = text.substr(0, start);
      }
    }
    if (!kept.empty()) {
      tokens_.push_back({TokenKind::kText, line_, std::string(kept)});
    }
    advance_lines(text);
  }

  void advance_lines(std::string_view text) { line_ += count_lines(text); }

  // Whether the tag at position_ (after "{%" and its sign) is a raw block's, and if so moves inside the block.
  bool raw_begins() {
    std::string_view rest = strip_left(source_.substr(position_));
    if (!rest.starts_with("raw")) {
      return false;
    }
    rest = strip_left(rest.substr(3));
    const bool strips = rest.starts_with("-%}");
    if (!strips && !rest.starts_with("%}")) {
      return false;
    }
    rest = strips ? strip_left(rest.substr(3)) : rest.substr(2);
    move_to(source_.size() - rest.size());
    return true;
  }

  absl::Status raw() {
    for (std::size_t end = source_.find("{%", position_); end != std::string_view::npos;
         end = source_.find("{%", end + 1)) {
      std::string_view rest = source_.substr(end + 2);
      char sign = rest.empty() ? '\0' : rest.front();
      if (sign == '-' || sign == '+') {
        rest.remove_prefix(1);
      }
      rest = strip_left(rest);
      if (!rest.starts_with("endraw")) {
        continue;
      }
      rest = strip_left(rest.substr(6));
      const std::size_t length = closing_length(rest, "%}", Trim::kNewline);
      if (length == 0) {
        continue;
      }
      add_text_before_tag(source_.substr(position_, end - position_), sign, true);
      position_ = end;
      move_to(source_.size() - rest.size() + length);
      return absl::OkStatus();
    }
    return error_at_line(line_, "missing end of raw block");
  }

  absl::Status comment() {
    std::size_t end = source_.find("#}", position_);
    if (end != std::string_view::npos) {
      if (end > position_ && (source_[end - 1] == '-' || source_[end - 1] == '+')) {
        --end;
      }
      move_to(end + closing_length(source_.substr(end), "#}", Trim::kNewline));
      return absl::OkStatus();
    }
    return error_at_line(line_, "missing end of comment");
  }

  // Tokens up to and including the end of the tag.
  absl::Status inner(TokenKind begin, TokenKind end, std::string_view closing, Trim trim) {
    tokens_.push_back({begin, line_, ""});
    TagLexer tag(source_, position_, line_, closing, trim);
    COPPICE_RETURN_IF_ERROR(tag.run(&tokens_));
    tokens_.push_back({end, tag.line(), ""});
    line_ = tag.line();
    position_ = tag.position();
    move_to(position_ + closing_length(source_.substr(position_), closing, trim));
    return absl::OkStatus();
  }

  void move_to(std::size_t position) {
    advance_lines(source_.substr(position_, position - position_));
    position_ = position;
    line_starting_ = position_ > 0 && source_[position_ - 1] == '\n';
  }

  const std::string_view source_;
  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the tag before ended with a newline
};

}  // namespace

absl::StatusOr<std::vector<Token>> tokenize(std::string_view source) {
  if (!valid_utf8(source)) {
    return error_at_line(1, "the template is not UTF-8");
  }
  const std::string normalized = normalize(source);
  return Lexer(normalized).run();
}

}  // namespace coppice::text
