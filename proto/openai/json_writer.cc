// JSON text by appending; escapes what RFC 8259 requires and nothing else.
#include "proto/openai/json_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace coppice::openai {
namespace {

// JSON has no infinity: vLLM writes this for the logprob of a token that cannot be drawn.
constexpr float kLogprobMin = -9999.0F;

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U;
}

void append_escaped(std::string& out, char byte) {
  switch (byte) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(byte)));
  }
}

bool is_plain_ascii(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value >= 0x20U && value < 0x80U && byte != '"' && byte != '\\' && value != 0x7FU;
}

}  // namespace

std::size_t utf8_character_length(std::string_view bytes) {
  if (bytes.empty()) {
    return 0;
  }
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (first < 0x80U) {
    return 1;
  }
  const std::size_t length = first >= 0xF0U ? 4 : first >= 0xE0U ? 3 : 2;
  if (first < 0xC2U || first > 0xF4U || bytes.size() < length) {
    return 0;
  }
  if (!std::all_of(bytes.begin() + 1, bytes.begin() + static_cast<std::ptrdiff_t>(length), is_continuation)) {
    return 0;
  }
  const auto second = static_cast<unsigned char>(bytes[1]);
  const bool overlong = (first == 0xE0U && second < 0xA0U) || (first == 0xF0U && second < 0x90U);
  const bool surrogate = first == 0xEDU && second >= 0xA0U;
  const bool beyond = first == 0xF4U && second >= 0x90U;
  return overlong || surrogate || beyond ? 0 : length;
}

void JsonWriter::separate() {
  if (needs_comma_) {
    text_ += ',';
  }
  needs_comma_ = true;
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  text_ += '{';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  text_ += '}';
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  text_ += '[';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  text_ += ']';
  needs_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  string(name);
  text_ += ':';
  needs_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view utf8) {
  separate();
  text_ += '"';
  std::size_t at = 0;
  while (at < utf8.size()) {
    std::size_t plain = at;
    while (plain < utf8.size() && is_plain_ascii(utf8[plain])) {
      ++plain;
    }
    text_.append(utf8.substr(at, plain - at));
    at = plain;
    if (at == utf8.size()) {
      break;
    }
    const std::size_t length = utf8_character_length(utf8.substr(at));
    if (length == 0) {
      text_ += "\xEF\xBF\xBD";
      ++at;
    } else if (length == 1) {
      append_escaped(text_, utf8[at]);
      ++at;
    } else {
      text_.append(utf8.substr(at, length));
      at += length;
    }
  }
  text_ += '"';
  return *this;
}

JsonWriter& JsonWriter::string_or_null(std::string_view utf8) {
  return utf8.empty() ? null() : string(utf8);
}

JsonWriter& JsonWriter::integer(std::int64_t value) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}

JsonWriter& JsonWriter::number(double value) {
  if (!std::isfinite(value)) {
    return null();
  }
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}

JsonWriter& JsonWriter::single(float value) {
  if (!std::isfinite(value)) {
    return null();
  }
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value);
  return *this;
}

JsonWriter& JsonWriter::logprob(float value) {
  separate();
  fmt::format_to(std::back_inserter(text_), "{}", value >= kLogprobMin ? value : kLogprobMin);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  separate();
  text_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null() {
  separate();
  text_ += "null";
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  text_.append(json);
  return *this;
}

}  // namespace coppice::openai
