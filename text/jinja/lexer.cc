// The lexer: text, tags, comments and whitespace control; inside tags names, numbers, strings with Python's
// escapes, and operators.
#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "text/jinja/unicode.h"
#include "text/utf8.h"

namespace coppice::jinja {

absl::Status error_at_line(int line, std::string_view message) {
  return absl::InvalidArgumentError(fmt::format("chat template line {}: {}", line, message));
}

namespace {

// How a tag ends. A block or a comment takes the newline after it along (trim_blocks).
struct TagEnd {
  std::string_view closing;
  bool takes_newline;

  // Bytes of the end at the start of `rest`, with the whitespace that it strips; 0 if it is not there.
  std::size_t length_at(std::string_view rest) const {
    if (rest.starts_with('-') && rest.substr(1).starts_with(closing)) {
      return rest.size() - strip_left(rest.substr(1 + closing.size())).size();
    }
    if (takes_newline && rest.starts_with('+') && rest.substr(1).starts_with(closing)) {
      return 1 + closing.size();
    }
    if (!rest.starts_with(closing)) {
      return 0;
    }
    return closing.size() + (takes_newline && rest.substr(closing.size()).starts_with('\n') ? 1 : 0);
  }
};
constexpr TagEnd kOutputEnd{"}}", false}, kBlockEnd{"%}", true}, kCommentEnd{"#}", true};

// Line ends become "\n", and one at the end of the template is dropped (keep_trailing_newline is off).
std::string normalize(std::string_view source) {
  std::string result;
  result.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      result.push_back(source[i]);
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      result.push_back('\n');
    }
  }
  if (result.ends_with('\n')) {
    result.pop_back();
  }
  return result;
}

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_name_part(char c) {
  return is_name_start(c) || is_ascii_digit(c);
}
bool is_sign(char c) {
  return c == '-' || c == '+';
}

// One escape of a string literal; `rest` starts after the backslash. The characters used, 0 for an error.
std::size_t append_escape(std::string_view rest, std::string* text) {
  static constexpr std::string_view kNames = "\\'\"abfnrtv", kValues = "\\'\"\a\b\f\n\r\t\v";
  const char kind = rest.front();
  if (const std::size_t simple = kNames.find(kind); simple != std::string_view::npos) {
    text->push_back(kValues[simple]);
    return 1;
  }
  const std::size_t length = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
  if (length == 0) {  // an unknown escape stands for itself
    text->append(kind == '\n' ? "" : "\\").append(kind == '\n' ? "" : rest.substr(0, 1));
    return kind == 'N' || is_ascii_digit(kind) ? 0 : 1;
  }
  const std::string_view digits = rest.substr(1, length);
  std::uint32_t code = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  const bool is_character = code <= 0x10FFFF && (code < 0xD800 || code >= 0xE000);
  if (digits.size() != length || parsed.ptr != digits.data() + length || !is_character) {
    return 0;
  }
  text::append_utf8(*text, code);
  return length + 1;
}

// ENSURES: after an error it stands at the end of the source, where every loop ends; only the first error counts.
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> run() {
    while (!rest().empty()) {
      next_piece();
    }
    tokens_.push_back({TokenKind::kEnd, line_, ""});
    return status_.ok() ? absl::StatusOr<std::vector<Token>>(std::move(tokens_)) : status_;
  }

 private:
  std::string_view rest() const { return source_.substr(position_); }
  char at(std::size_t i) const { return i < rest().size() ? rest()[i] : '\0'; }

  std::string_view take(std::size_t size) {
    const std::string_view taken = source_.substr(position_, size);
    line_ += static_cast<int>(std::count(taken.begin(), taken.end(), '\n'));
    position_ += taken.size();
    return taken;
  }

  void fail(std::string_view message) {
    status_.Update(error_at_line(line_, message));
    position_ = source_.size();
  }

  // Text up to the next tag, and that tag.
  void next_piece() {
    std::size_t begin = rest().find('{');
    while (begin != std::string_view::npos && at(begin + 1) != '%' && at(begin + 1) != '{' && at(begin + 1) != '#') {
      begin = rest().find('{', begin + 1);
    }
    if (begin == std::string_view::npos) {
      tokens_.push_back({TokenKind::kText, line_, std::string(rest())});
      take(rest().size());
      return;
    }
    const char kind = at(begin + 1);
    const char sign = at(begin + 2);
    text_before_tag(rest().substr(0, begin), sign, kind != '{');
    take(begin + (is_sign(sign) ? 3 : 2));
    if (kind == '#') {
      comment();
    } else if (kind == '{') {
      tag(TokenKind::kOutputBegin, TokenKind::kOutputEnd, kOutputEnd);
    } else {
      tag(TokenKind::kTagBegin, TokenKind::kTagEnd, kBlockEnd);
    }
  }

  // lstrip_blocks: blanks between the start of a line and a tag go, unless the tag says "+"; with "-" all whitespace
  // before the tag goes.
  void text_before_tag(std::string_view text, char sign, bool may_strip_line) {
    if (sign == '-') {
      text = strip_right(text);
    } else if (sign != '+' && may_strip_line) {
      const std::size_t start = text.rfind('\n') + 1;  // 0 when there is none
      const bool at_line_start = start > 0 || position_ == 0 || source_[position_ - 1] == '\n';
      if (at_line_start && strip_left(text.substr(start)).empty()) {
        text = text.substr(0, start);
      }
    }
    if (!text.empty()) {
      tokens_.push_back({TokenKind::kText, line_, std::string(text)});
    }
  }

  void comment() {
    std::size_t end = rest().find(kCommentEnd.closing);
    if (end == std::string_view::npos) {
      return fail("missing end of comment");
    }
    end -= end > 0 && is_sign(at(end - 1)) ? 1 : 0;
    take(end + kCommentEnd.length_at(rest().substr(end)));
  }

  // Tokens up to and including the end of the tag.
  void tag(TokenKind begin, TokenKind end_kind, const TagEnd& end) {
    tokens_.push_back({begin, line_, ""});
    brackets_ = 0;
    while (brackets_ > 0 || end.length_at(rest()) == 0) {
      if (const std::size_t space = rest().size() - strip_left(rest()).size(); space > 0) {
        take(space);
      } else if (rest().empty()) {
        return fail(fmt::format("the template ends inside a tag, '{}' expected", end.closing));
      } else {
        next_token();
      }
    }
    tokens_.push_back({end_kind, line_, ""});
    take(end.length_at(rest()));
  }

  void next_token() {
    if (is_ascii_digit(at(0))) {
      number();
    } else if (at(0) == '\'' || at(0) == '"') {
      string();
    } else if (is_name_start(at(0))) {
      const std::string_view text = rest();
      const auto size = std::find_if_not(text.begin(), text.end(), is_name_part) - text.begin();
      tokens_.push_back({TokenKind::kName, line_, std::string(take(static_cast<std::size_t>(size)))});
    } else {
      operation();
    }
  }

  std::size_t digits_end(std::size_t from) const {
    while (is_ascii_digit(at(from))) {
      ++from;
    }
    return from;
  }

  // Digits, with a fraction or an exponent unless they stand after a "." ("x.0.1" is two indices).
  void number() {
    const std::size_t whole = digits_end(0);
    std::size_t end = whole;
    if (source_[position_ - 1] != '.') {
      if (at(end) == '.' && is_ascii_digit(at(end + 1))) {
        end = digits_end(end + 1);
      }
      const std::size_t exponent = end + (is_sign(at(end + 1)) ? 2 : 1);
      if ((at(end) == 'e' || at(end) == 'E') && is_ascii_digit(at(exponent))) {
        end = digits_end(exponent);
      }
    }
    if (is_name_start(at(end)) || (end == whole && end > 1 && at(0) == '0')) {
      return fail("numbers of another base, with '_' or with leading zeros are not supported in chat templates");
    }
    Token token{end > whole ? TokenKind::kReal : TokenKind::kInteger, line_, std::string(take(end))};
    const char* const first = token.text.data();
    const auto parsed = end > whole ? std::from_chars(first, first + end, token.real)
                                    : std::from_chars(first, first + end, token.integer);
    if (parsed.ec != std::errc()) {
      fail("a number is out of range");
    }
    tokens_.push_back(std::move(token));
  }

  void string() {
    std::string text;
    std::size_t i = 1;
    for (; i < rest().size() && at(i) != at(0); ++i) {
      if (at(i) != '\\' || i + 1 == rest().size()) {
        text.push_back(at(i));
        continue;
      }
      const std::size_t used = append_escape(rest().substr(i + 1), &text);
      if (used == 0) {
        return fail("a string has an escape that is not valid or not supported");
      }
      i += used;
    }
    if (i >= rest().size()) {
      return fail("a string has no end");
    }
    tokens_.push_back({TokenKind::kString, line_, std::move(text)});
    take(i + 1);
  }

  void operation() {
    static constexpr std::array<std::string_view, 25> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                    "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                    ">",  "<",  "=",  ".",  ":",  "|",  ","};
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [this](std::string_view name) { return rest().starts_with(name); });
    if (found == kOperators.end()) {
      return fail(fmt::format("unexpected character '{}'", rest().substr(0, sequence_length(at(0)))));
    }
    const std::string_view name = *found;
    brackets_ += name == "(" || name == "[" || name == "{" ? 1 : name == ")" || name == "]" || name == "}" ? -1 : 0;
    if (brackets_ < 0) {
      return fail(fmt::format("unexpected '{}'", name));
    }
    tokens_.push_back({TokenKind::kOperator, line_, std::string(take(name.size()))});
  }

  const std::string_view source_;
  std::size_t position_ = 0;
  int line_ = 1;
  int brackets_ = 0;  // open ones: a tag does not end inside them
  std::vector<Token> tokens_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> tokenize(std::string_view source) {
  if (!text::is_valid_utf8(source)) {
    return error_at_line(1, "the template is not UTF-8");
  }
  const std::string normalized = normalize(source);
  return Lexer(normalized).run();
}

}  // namespace coppice::jinja
