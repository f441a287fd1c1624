// UTF-8 walking and Unicode properties.
#include "text/jinja/unicode.h"

#include <algorithm>
#include <optional>
#include <span>

#include "text/jinja/unicode_tables.h"

namespace coppice::text {

namespace tables = unicode_tables;

std::size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte < 0x80) {
    return 1;
  }
  return byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

bool valid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = sequence_length(text[i]);
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) {
      return false;
    }
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0U) != 0x80U) {
        return false;
      }
    }
    const std::uint32_t code = next_code_point(text, &i);
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      return false;
    }
  }
  return true;
}

std::size_t code_point_count(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::uint32_t next_code_point(std::string_view text, std::size_t* position) {
  const std::size_t length = sequence_length(text[*position]);
  auto code = static_cast<std::uint32_t>(static_cast<unsigned char>(text[*position]));
  if (length > 1) {
    code &= 0xFFU >> (length + 1);
    for (std::size_t k = 1; k < length; ++k) {
      code = code << 6U | (static_cast<unsigned char>(text[*position + k]) & 0x3FU);
    }
  }
  *position += length;
  return code;
}

std::size_t previous_start(std::string_view text, std::size_t position) {
  do {
    --position;
  } while (position > 0 && (static_cast<unsigned char>(text[position]) & 0xC0U) == 0x80U);
  return position;
}

void append_code_point(std::string* text, std::uint32_t code) {
  const auto put = [text](std::uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0U | code >> 6U);
    put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0U | code >> 12U);
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | code >> 18U);
    put(0x80U | (code >> 12U & 0x3FU));
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  }
}

std::vector<std::uint32_t> decode_utf8(std::string_view text) {
  std::vector<std::uint32_t> codes;
  codes.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    codes.push_back(next_code_point(text, &i));
  }
  return codes;
}

std::size_t byte_offset(std::string_view text, std::size_t count) {
  std::size_t position = 0;
  while (count > 0 && position < text.size()) {
    position += sequence_length(text[position]);
    --count;
  }
  return position;
}

bool is_space(std::uint32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
         code == 0x205F || code == 0x3000;
}

bool is_line_break(std::uint32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

namespace {

bool has_class(std::uint32_t code, std::uint32_t bit) {
  const auto& runs = tables::kClassRuns;
  const auto after = std::upper_bound(runs.begin(), runs.end(), code << 8U | 0xFFU);
  return (*std::prev(after) & bit) != 0;
}

struct CaseTable {
  std::span<const tables::CaseRange> ranges;
  std::span<const tables::CaseSpecial> specials;
};
const CaseTable kUpper{tables::kUpperRanges, tables::kUpperSpecials};
const CaseTable kLower{tables::kLowerRanges, tables::kLowerSpecials};
const CaseTable kTitle{tables::kTitleRanges, tables::kTitleSpecials};

// Appends what `code` maps to; false when the table says nothing about it.
bool append_mapped(std::string* text, std::uint32_t code, const CaseTable& table) {
  const auto special =
      std::lower_bound(table.specials.begin(), table.specials.end(), code,
                       [](const tables::CaseSpecial& entry, std::uint32_t value) { return entry.code < value; });
  if (special != table.specials.end() && special->code == code) {
    for (const std::uint32_t image : special->image) {
      if (image != 0) {
        append_code_point(text, image);
      }
    }
    return true;
  }
  // Ranges of stride 2 may interleave, so the one that holds `code` is among the last few that start before it.
  const auto after =
      std::upper_bound(table.ranges.begin(), table.ranges.end(), code,
                       [](std::uint32_t value, const tables::CaseRange& range) { return value < range.first; });
  for (auto range = after; range != table.ranges.begin() && after - range < 4;) {
    --range;
    if (code <= range->last && (code - range->first) % range->stride == 0) {
      append_code_point(text, code + static_cast<std::uint32_t>(range->delta));
      return true;
    }
  }
  return false;
}

void append_upper(std::string* text, std::uint32_t code) {
  if (!append_mapped(text, code, kUpper)) {
    append_code_point(text, code);
  }
}

void append_title(std::string* text, std::uint32_t code) {
  if (!append_mapped(text, code, kTitle)) {
    append_upper(text, code);
  }
}

bool is_cased(std::uint32_t code) {
  return is_lower(code) || is_upper(code) || is_title(code);
}

constexpr std::uint32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2;

// The lower case of text[position]: a capital sigma at the end of a word has a form of its own.
void append_lower(std::string* text, std::string_view source, std::size_t position) {
  std::size_t next = position;
  const std::uint32_t code = next_code_point(source, &next);
  if (code == kCapitalSigma && position > 0) {
    std::size_t before = previous_start(source, position);
    const bool after_letter = is_cased(next_code_point(source, &before));
    const bool before_letter = next < source.size() && is_cased(next_code_point(source, &next));
    if (after_letter && !before_letter) {
      append_code_point(text, kFinalSigma);
      return;
    }
  }
  if (!append_mapped(text, code, kLower)) {
    append_code_point(text, code);
  }
}

}  // namespace

bool is_alpha(std::uint32_t code) {
  return has_class(code, tables::kAlpha);
}
bool is_decimal(std::uint32_t code) {
  return has_class(code, tables::kDecimal);
}
bool is_digit(std::uint32_t code) {
  return has_class(code, tables::kDigit);
}
bool is_numeric(std::uint32_t code) {
  return has_class(code, tables::kNumeric);
}
bool is_printable(std::uint32_t code) {
  return has_class(code, tables::kPrintable);
}
bool is_lower(std::uint32_t code) {
  return has_class(code, tables::kLower);
}
bool is_upper(std::uint32_t code) {
  return has_class(code, tables::kUpper);
}
bool is_title(std::uint32_t code) {
  return has_class(code, tables::kTitle);
}

bool is_cased_text(std::string_view text, bool upper) {
  bool any = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::uint32_t code = next_code_point(text, &i);
    if (upper ? is_lower(code) || is_title(code) : is_upper(code) || is_title(code)) {
      return false;
    }
    any |= upper ? is_upper(code) : is_lower(code);
  }
  return any;
}

std::string to_upper(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    append_upper(&result, next_code_point(text, &i));
  }
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); i += sequence_length(text[i])) {
    append_lower(&result, text, i);
  }
  return result;
}

std::string to_capitalized(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); i += sequence_length(text[i])) {
    if (i == 0) {
      std::size_t next = 0;
      append_title(&result, next_code_point(text, &next));
    } else {
      append_lower(&result, text, i);
    }
  }
  return result;
}

std::string to_title(std::string_view text) {
  std::string result;
  bool in_word = false;
  for (std::size_t i = 0; i < text.size(); i += sequence_length(text[i])) {
    std::size_t next = i;
    const std::uint32_t code = next_code_point(text, &next);
    if (in_word) {
      append_lower(&result, text, i);
    } else {
      append_title(&result, code);
    }
    in_word = is_cased(code);
  }
  return result;
}

std::string swap_case(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); i += sequence_length(text[i])) {
    std::size_t next = i;
    const std::uint32_t code = next_code_point(text, &next);
    if (is_upper(code)) {
      append_lower(&result, text, i);
    } else {
      is_lower(code) ? append_upper(&result, code) : append_code_point(&result, code);
    }
  }
  return result;
}

std::string_view strip_left(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    std::size_t next = position;
    if (!is_space(next_code_point(text, &next))) {
      break;
    }
    position = next;
  }
  return text.substr(position);
}

std::string_view strip_right(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t start = previous_start(text, end);
    std::size_t next = start;
    if (!is_space(next_code_point(text, &next))) {
      break;
    }
    end = start;
  }
  return text.substr(0, end);
}

}  // namespace coppice::text
