// Names, numbers, strings with Python's escapes, and operators.
#include "text/jinja/tag_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

std::string normalize_newlines(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      result.push_back('\n');
      i += i + 1 < text.size() && text[i + 1] == '\n' ? 1 : 0;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

std::size_t closing_length(std::string_view rest, std::string_view closing, Trim trim) {
  if (rest.starts_with('-') && rest.substr(1).starts_with(closing)) {
    return rest.size() - strip_left(rest.substr(1 + closing.size())).size();
  }
  if (trim == Trim::kNewline && rest.starts_with('+') && rest.substr(1).starts_with(closing)) {
    return 1 + closing.size();
  }
  if (!rest.starts_with(closing)) {
    return 0;
  }
  const bool newline = trim == Trim::kNewline && rest.substr(closing.size()).starts_with('\n');
  return closing.size() + (newline ? 1 : 0);
}

namespace {

bool ascii_digit(char c) {
  return c >= '0' && c <= '9';
}
bool name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool name_part(char c) {
  return name_start(c) || ascii_digit(c);
}

// Value of a digit in bases up to 16, or -1.
int digit_value(char c) {
  if (ascii_digit(c)) {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Reads up to `count` digits of `base`; the number of digits read.
std::size_t read_digits(std::string_view text, std::size_t count, int base, std::uint32_t* value) {
  std::size_t i = 0;
  for (*value = 0; i < count && i < text.size(); ++i) {
    const int digit = digit_value(text[i]);
    if (digit < 0 || digit >= base) {
      break;
    }
    *value = *value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
  }
  return i;
}

// One escape of a string literal; `rest` starts after the backslash. The characters used, 0 for an error.
std::size_t append_escape(std::string_view rest, std::string* text) {
  static constexpr std::array<std::pair<char, char>, 10> kSimple = {{{'\\', '\\'},
                                                                     {'\'', '\''},
                                                                     {'"', '"'},
                                                                     {'a', '\a'},
                                                                     {'b', '\b'},
                                                                     {'f', '\f'},
                                                                     {'n', '\n'},
                                                                     {'r', '\r'},
                                                                     {'t', '\t'},
                                                                     {'v', '\v'}}};
  const char kind = rest.front();
  if (kind == '\n') {
    return 1;
  }
  for (const auto& [name, value] : kSimple) {
    if (kind == name) {
      text->push_back(value);
      return 1;
    }
  }
  std::uint32_t code = 0;
  if (kind >= '0' && kind <= '7') {
    const std::size_t used = read_digits(rest, 3, 8, &code);
    append_code_point(text, code);
    return used;
  }
  const std::size_t length = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
  if (length > 0) {
    const bool complete = read_digits(rest.substr(1), length, 16, &code) == length;
    if (!complete || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      return 0;
    }
    append_code_point(text, code);
    return length + 1;
  }
  text->push_back('\\');  // an unknown escape stands for itself
  return kind == 'N' ? 0 : (text->append(rest.substr(0, sequence_length(kind))), sequence_length(kind));
}

}  // namespace

absl::Status TagLexer::run(std::vector<Token>* tokens) {
  while (true) {
    if (brackets_.empty() && closing_length(source_.substr(position_), closing_, trim_) > 0) {
      return absl::OkStatus();
    }
    const std::size_t before = position_;
    skip_space();
    if (position_ != before) {
      continue;
    }
    if (position_ >= source_.size()) {
      return error_at_line(line_, fmt::format("the template ends inside a tag, '{}' expected", closing_));
    }
    COPPICE_RETURN_IF_ERROR(next_token(tokens));
  }
}

void TagLexer::skip_space() {
  const std::string_view rest = source_.substr(position_);
  const std::size_t length = rest.size() - strip_left(rest).size();
  line_ += static_cast<int>(std::count(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(length), '\n'));
  position_ += length;
}

absl::Status TagLexer::next_token(std::vector<Token>* tokens) {
  const char first = source_[position_];
  if (ascii_digit(first)) {
    absl::Status status;
    return number(tokens, &status) ? status : integer(tokens);
  }
  if (name_start(first)) {
    std::size_t end = position_;
    while (end < source_.size() && name_part(source_[end])) {
      ++end;
    }
    const std::string_view name = source_.substr(position_, end - position_);
    const std::vector<std::uint32_t> codes = decode_utf8(name);
    if (!std::all_of(codes.begin(), codes.end(),
                     [](std::uint32_t code) { return code < 0x80 || is_alpha(code) || is_numeric(code); })) {
      return error_at_line(line_, "invalid character in a name");
    }
    tokens->push_back({TokenKind::kName, line_, std::string(name)});
    position_ = end;
    return absl::OkStatus();
  }
  return first == '\'' || first == '"' ? string(tokens) : operation(tokens);
}

// The end of a run of digits that single underscores may separate.
std::size_t TagLexer::digits_end(std::size_t from) const {
  const auto digit = [this](std::size_t i) { return i < source_.size() && ascii_digit(source_[i]); };
  while (digit(from) || (from < source_.size() && source_[from] == '_' && digit(from + 1) && from > 0 &&
                         ascii_digit(source_[from - 1]))) {
    ++from;
  }
  return from;
}

// A literal with a fraction or an exponent; false when the digits here are an integer.
bool TagLexer::number(std::vector<Token>* tokens, absl::Status* status) {
  if (position_ > 0 && source_[position_ - 1] == '.') {
    return false;
  }
  const auto at = [this](std::size_t i) { return i < source_.size() ? source_[i] : '\0'; };
  std::size_t end = digits_end(position_);
  bool real = false;
  if (at(end) == '.' && ascii_digit(at(end + 1))) {
    end = digits_end(end + 1);
    real = true;
  }
  if ((at(end) | 0x20) == 'e') {
    const std::size_t exponent = end + (at(end + 1) == '+' || at(end + 1) == '-' ? 2 : 1);
    if (ascii_digit(at(exponent))) {
      end = digits_end(exponent);
      real = true;
    }
  }
  if (!real) {
    return false;
  }
  std::string digits(source_.substr(position_, end - position_));
  std::erase(digits, '_');
  double value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (parsed.ec == std::errc::result_out_of_range) {
    *status = error_at_line(line_, "a number is out of range");
  }
  tokens->push_back({TokenKind::kReal, line_, digits, 0, value});
  position_ = end;
  return true;
}

absl::Status TagLexer::integer(std::vector<Token>* tokens) {
  const std::string_view rest = source_.substr(position_);
  const char kind = rest.size() > 2 && rest[0] == '0' ? static_cast<char>(rest[1] | 0x20) : '\0';
  const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
  std::size_t end = base == 10 ? 0 : 2;
  std::string digits;
  for (; end < rest.size(); ++end) {
    const bool separator = rest[end] == '_' && end + 1 < rest.size() && end > 0;
    const int value = digit_value(rest[separator ? end + 1 : end]);
    if (value < 0 || value >= base || (base == 10 && rest[0] == '0' && value != 0)) {
      break;
    }
    if (!separator) {
      digits.push_back(rest[end]);
    }
  }
  if (digits.empty()) {
    end = 1;
    digits = "0";
  }
  std::int64_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (parsed.ec != std::errc()) {
    return error_at_line(line_, "an integer is beyond 64 bits");
  }
  tokens->push_back({TokenKind::kInteger, line_, digits, value});
  position_ += end;
  return absl::OkStatus();
}

absl::Status TagLexer::string(std::vector<Token>* tokens) {
  const char quote = source_[position_];
  std::string text;
  std::size_t i = position_ + 1;
  for (; i < source_.size() && source_[i] != quote; ++i) {
    if (source_[i] != '\\') {
      text.push_back(source_[i]);
      continue;
    }
    if (i + 1 >= source_.size()) {
      break;
    }
    const std::size_t used = append_escape(source_.substr(i + 1), &text);
    if (used == 0) {
      return error_at_line(line_, "a string has an escape that is not valid or not supported");
    }
    i += used;
  }
  if (i >= source_.size()) {
    return error_at_line(line_, "a string has no end");
  }
  tokens->push_back({TokenKind::kString, line_, std::move(text)});
  const std::string_view source = source_.substr(position_, i - position_);
  line_ += static_cast<int>(std::count(source.begin(), source.end(), '\n'));
  position_ = i + 1;
  return absl::OkStatus();
}

absl::Status TagLexer::operation(std::vector<Token>* tokens) {
  static constexpr std::array<std::string_view, 26> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                  "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                  ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
  const std::string_view rest = source_.substr(position_);
  for (const std::string_view name : kOperators) {
    if (rest.starts_with(name)) {
      COPPICE_RETURN_IF_ERROR(balance(name.front()));
      tokens->push_back({TokenKind::kOperator, line_, std::string(name)});
      position_ += name.size();
      return absl::OkStatus();
    }
  }
  return error_at_line(line_, fmt::format("unexpected character '{}'", rest.substr(0, sequence_length(rest[0]))));
}

absl::Status TagLexer::balance(char bracket) {
  if (bracket == '(' || bracket == '[' || bracket == '{') {
    brackets_.push_back(bracket == '(' ? ')' : bracket == '[' ? ']' : '}');
  } else if (bracket == ')' || bracket == ']' || bracket == '}') {
    if (brackets_.empty()) {
      return error_at_line(line_, fmt::format("unexpected '{}'", bracket));
    }
    if (brackets_.back() != bracket) {
      return error_at_line(line_, fmt::format("unexpected '{}', '{}' expected", bracket, brackets_.back()));
    }
    brackets_.pop_back();
  }
  return absl::OkStatus();
}

}  // namespace coppice::text
