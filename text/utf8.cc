// UTF-8 checking by the table of well-formed sequences (Unicode 3.9, table 3-7).
#include "text/utf8.h"

#include <cstdint>
#include <cstring>

namespace coppice::text {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

// What may follow a lead byte: how many bytes in all, and the range of the second one.
struct Lead {
  std::size_t length;  // 0: not a lead byte
  std::uint8_t second_min;
  std::uint8_t second_max;
};

Lead lead_of(std::uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

std::size_t ascii_prefix(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end + 8 <= text.size()) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + end, 8);
    if ((word & 0x8080808080808080ULL) != 0) {
      break;
    }
    end += 8;
  }
  while (end < text.size() && byte_at(text, end) < 0x80) {
    ++end;
  }
  return end - at;
}

}  // namespace

Utf8Step utf8_step(std::string_view text, std::size_t at) {
  const std::uint8_t first = byte_at(text, at);
  if (first < 0x80) {
    return {first, 1, true, false};
  }
  const Lead lead = lead_of(first);
  if (lead.length == 0) {
    return {0xFFFD, 1, false, false};
  }
  char32_t code_point = first & (0xFFU >> (lead.length + 1));
  for (std::size_t index = 1; index < lead.length; ++index) {
    if (at + index >= text.size()) {
      return {0xFFFD, index, false, true};
    }
    const std::uint8_t byte = byte_at(text, at + index);
    const std::uint8_t byte_min = index == 1 ? lead.second_min : 0x80;
    const std::uint8_t byte_max = index == 1 ? lead.second_max : 0xBF;
    if (byte < byte_min || byte > byte_max) {
      return {0xFFFD, index, false, false};
    }
    code_point = (code_point << 6) | (byte & 0x3FU);
  }
  return {code_point, lead.length, true, false};
}

bool is_valid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    at += ascii_prefix(text, at);
    if (at == text.size()) {
      break;
    }
    const Utf8Step step = utf8_step(text, at);
    if (!step.valid) {
      return false;
    }
    at += step.length;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t ascii = ascii_prefix(text, at);
    out.append(text.substr(at, ascii));
    at += ascii;
    if (at == text.size()) {
      break;
    }
    const Utf8Step step = utf8_step(text, at);
    out.append(step.valid ? text.substr(at, step.length) : kReplacementCharacter);
    at += step.length;
  }
  return out;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::size_t utf8_cut_short_tail(std::string_view text) {
  const std::size_t window = text.size() < 3 ? text.size() : 3;
  for (std::size_t back = 1; back <= window; ++back) {
    const std::size_t at = text.size() - back;
    if (byte_at(text, at) >= 0xC0) {
      return utf8_step(text, at).cut_short ? back : 0;
    }
    if (byte_at(text, at) < 0x80) {
      return 0;
    }
  }
  return 0;
}

bool is_white_space(char32_t code_point) {
  return (code_point >= 0x09 && code_point <= 0x0D) || code_point == 0x20 || code_point == 0x85 || code_point == 0xA0 ||
         code_point == 0x1680 || (code_point >= 0x2000 && code_point <= 0x200A) || code_point == 0x2028 ||
         code_point == 0x2029 || code_point == 0x202F || code_point == 0x205F || code_point == 0x3000;
}

}  // namespace coppice::text
