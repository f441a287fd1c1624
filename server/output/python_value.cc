// Literals as Python's reference has them; of its escapes all but \N{…} and octal ones beyond \0.
#include "server/output/python_value.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>

#include "server/output/tool_set.h"

namespace coppice::server {
namespace {

bool is_word(char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' || byte == '.' ||
         byte == '+' || byte == '-';
}

std::size_t skip_digits(std::string_view text, std::size_t at) {
  while (at < text.size() && is_digit(text[at])) {
    ++at;
  }
  return at;
}

// A Python number as JSON; "" when it is none that JSON has.
std::string json_number(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  const bool is_negative = text.starts_with('-');
  const std::string_view digits = std::string_view(text).substr(is_negative || text.starts_with('+') ? 1 : 0);
  const std::size_t whole = skip_digits(digits, 0);
  std::size_t at = whole;
  std::size_t fraction = 0;
  const bool has_point = at < digits.size() && digits[at] == '.';
  if (has_point) {
    const std::size_t end = skip_digits(digits, at + 1);
    fraction = end - at - 1;
    at = end;
  }
  const std::size_t mantissa = at;
  if (at < digits.size() && (digits[at] == 'e' || digits[at] == 'E')) {
    const std::size_t sign = at + 1 < digits.size() && (digits[at + 1] == '+' || digits[at + 1] == '-') ? 1 : 0;
    const std::size_t end = skip_digits(digits, at + 1 + sign);
    at = end == at + 1 + sign ? at : end;
  }
  const bool has_odd_zero = whole > 1 && digits[0] == '0';
  if (at != digits.size() || whole + fraction == 0 || has_odd_zero) {
    return "";
  }
  std::string json = is_negative ? "-" : "";
  json += whole == 0 ? "0" : digits.substr(0, whole);
  if (has_point) {
    json += '.';
    json += fraction == 0 ? "0" : digits.substr(whole + 1, fraction);
  }
  json += digits.substr(mantissa);
  return json;
}

std::string json_word(const std::string& word) {
  if (word == "True" || word == "true") {
    return "true";
  }
  if (word == "False" || word == "false") {
    return "false";
  }
  if (word == "None" || word == "null") {
    return "null";
  }
  return json_number(word);
}

void append_utf8(std::uint32_t code, std::string& out) {
  constexpr std::uint32_t kTail = 0x80;      // bits: a byte inside a character
  constexpr std::uint32_t kTailMask = 0x3F;  // bits of the character in it
  const auto tail = [&](unsigned shift) { out += static_cast<char>(kTail | ((code >> shift) & kTailMask)); };
  out += static_cast<char>(0xF0U | (code >> 18U));  // NOLINT: four bytes: the callers have only such
  tail(12);                                         // NOLINT: six bits each
  tail(6);                                          // NOLINT
  tail(0);
}

// How many hexadecimal digits follow.
std::size_t hex_digits(char kind) {
  return kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;  // NOLINT: Python's
}

}  // namespace

Read PythonValue::push(char byte, std::string& out) {
  switch (at_) {
    case At::kString:
      return read_string(byte, out);
    case At::kEscape:
      return read_escape(byte, out);
    case At::kWord:
      return read_word(byte, out);
    default:
      break;
  }
  if (is_space(byte)) {
    return Read::kMore;
  }
  return at_ == At::kNext || at_ == At::kColon ? read_next(byte, out) : read_value(byte, out);
}

Read PythonValue::read_value(char byte, std::string& out) {
  const bool wants_key = at_ == At::kFirstKey || at_ == At::kKey;
  const bool has_comma = at_ == At::kItem || at_ == At::kKey;
  if (at_ != At::kValue && (byte == ']' || byte == ')' || byte == '}')) {
    return close(byte, out);
  }
  if (has_comma) {
    out += ", ";  // not before a bracket: Python's last comma says nothing
  }
  if (byte == '"' || byte == '\'') {
    quote_ = byte;
    is_key_ = wants_key;
    at_ = At::kString;
    out += '"';
    return Read::kMore;
  }
  if (wants_key) {
    return Read::kFailed;
  }
  if (byte == '{' || byte == '[' || byte == '(') {
    open_ += byte;
    at_ = byte == '{' ? At::kFirstKey : At::kFirstItem;
    out += byte == '{' ? '{' : '[';
    return Read::kMore;
  }
  if (!is_word(byte)) {
    return Read::kFailed;
  }
  word_ = byte;
  at_ = At::kWord;
  return Read::kMore;
}

Read PythonValue::read_string(char byte, std::string& out) {
  if (byte == '\\') {
    escape_ = byte;
    at_ = At::kEscape;
    return Read::kMore;
  }
  if (byte != quote_) {
    append_json_text({&byte, 1}, out);
    return Read::kMore;
  }
  out += '"';
  if (is_key_) {
    at_ = At::kColon;
    return Read::kMore;
  }
  return end_value();
}

Read PythonValue::read_escape(char byte, std::string& out) {
  escape_ += byte;
  const char kind = escape_[1];
  const std::size_t digits = hex_digits(kind);
  if (digits > 0) {
    if (escape_.size() > 2 && !is_hex(byte)) {
      escape_.pop_back();
      return Read::kFailed;
    }
    if (escape_.size() < 2 + digits) {
      return Read::kMore;
    }
  }
  const std::string escape = std::exchange(escape_, {});
  at_ = At::kString;
  if (digits == 0) {
    constexpr std::string_view kKinds = "abfnrtv0";
    constexpr std::string_view kMeanings("\a\b\f\n\r\t\v\0", kKinds.size());
    if (const std::size_t place = kKinds.find(kind); place != std::string_view::npos) {
      append_json_text(kMeanings.substr(place, 1), out);
    } else if (kind == '\'' || kind == '"' || kind == '\\' || kind == '/') {  // the last is JSON's
      append_json_text({&kind, 1}, out);
    } else if (kind != '\n') {  // a line that goes on; any other pair stands for itself
      append_json_text(escape, out);
    }
    return Read::kMore;
  }
  std::uint32_t code = 0;
  constexpr int kHexBase = 16;  // of the digits
  std::from_chars(escape.data() + 2, escape.data() + escape.size(), code, kHexBase);
  constexpr std::uint32_t kFourDigits = 0xFFFF;  // the most that JSON's escapes say
  constexpr std::uint32_t kLastCode = 0x10FFFF;  // of Unicode
  if (code > kLastCode) {
    escape_ = escape.substr(0, escape.size() - 1);
    return Read::kFailed;
  }
  if (code > kFourDigits) {
    append_utf8(code, out);
  } else {
    const std::string hex = "0000" + escape.substr(2);  // JSON has four
    out += "\\u" + hex.substr(hex.size() - 4);
  }
  return Read::kMore;
}

Read PythonValue::read_word(char byte, std::string& out) {
  if (is_word(byte)) {
    word_ += byte;
    return Read::kMore;
  }
  const std::string json = json_word(word_);
  if (json.empty()) {
    return Read::kFailed;
  }
  word_.clear();
  out += json;
  if (end_value() == Read::kDone) {
    return Read::kDoneBefore;
  }
  return is_space(byte) ? Read::kMore : read_next(byte, out);
}

Read PythonValue::read_next(char byte, std::string& out) {
  if (at_ == At::kColon) {
    if (byte != ':') {
      return Read::kFailed;
    }
    at_ = At::kValue;
    out += ": ";
    return Read::kMore;
  }
  if (byte != ',') {
    return close(byte, out);
  }
  at_ = open_.back() == '{' ? At::kKey : At::kItem;
  return Read::kMore;
}

Read PythonValue::close(char byte, std::string& out) {
  const char open = open_.empty() ? '\0' : open_.back();
  if (byte != (open == '{' ? '}' : open == '[' ? ']' : ')') || open == 0) {
    return Read::kFailed;
  }
  out += byte == '}' ? '}' : ']';
  open_.pop_back();
  return end_value();
}

Read PythonValue::end_value() {
  at_ = At::kNext;
  return open_.empty() ? Read::kDone : Read::kMore;
}

}  // namespace coppice::server
