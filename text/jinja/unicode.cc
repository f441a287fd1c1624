// Decoding, classes and case mapping.
#include "text/jinja/unicode.h"

#include <algorithm>
#include <array>

#include <utf8proc.h>

namespace coppice::jinja {
namespace {

// utf8proc reads bytes, we hold characters.
const utf8proc_uint8_t* bytes_of(std::string_view text) {
  return static_cast<const utf8proc_uint8_t*>(static_cast<const void*>(text.data()));
}

bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

utf8proc_category_t category(std::uint32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

}  // namespace

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    utf8proc_int32_t code = 0;
    const utf8proc_ssize_t size =
        is_ascii(text.front()) ? 1
                               : utf8proc_iterate(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()), &code);
    if (size < 1) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  return true;
}

std::size_t code_point_count(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_continuation));
}

std::size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

std::uint32_t next_code_point(std::string_view text, std::size_t* position) {
  const std::string_view rest = text.substr(*position);
  *position += sequence_length(rest.front());
  utf8proc_int32_t code = rest.front();
  if (!is_ascii(rest.front())) {
    utf8proc_iterate(bytes_of(rest), static_cast<utf8proc_ssize_t>(rest.size()), &code);
  }
  return static_cast<std::uint32_t>(code);
}

std::size_t previous_start(std::string_view text, std::size_t position) {
  do {
    --position;
  } while (position > 0 && is_continuation(text[position]));
  return position;
}

void append_code_point(std::string* text, std::uint32_t code) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const utf8proc_ssize_t size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes.data());
  text->append(bytes.begin(), bytes.begin() + size);
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
  for (; count > 0 && position < text.size(); --count) {
    position += sequence_length(text[position]);
  }
  return position;
}

bool is_space(std::uint32_t code) {
  return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
         (code >= 0x80 && category(code) == UTF8PROC_CATEGORY_ZS) || code == 0x2028 || code == 0x2029;
}

bool is_line_break(std::uint32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

bool is_digit(std::uint32_t code) {
  // Characters with the property Numeric_Type=Digit, which utf8proc does not have: superscripts, circled digits, ...
  static constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 20> kDigits = {
      {{0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
       {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
       {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
       {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}}};
  return category(code) == UTF8PROC_CATEGORY_ND ||
         std::any_of(kDigits.begin(), kDigits.end(),
                     [code](const auto& range) { return code >= range.first && code <= range.second; });
}

bool is_printable(std::uint32_t code) {
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return code == ' ';
    default:
      return true;
  }
}

namespace {

bool is_cased(std::uint32_t code) {
  const auto character = static_cast<utf8proc_int32_t>(code);
  return utf8proc_isupper(character) != 0 || utf8proc_islower(character) != 0 || category(code) == UTF8PROC_CATEGORY_LT;
}

// The one-to-one mappings.
using CaseMapping = utf8proc_int32_t (*)(utf8proc_int32_t);

void append_mapped(std::string* text, std::uint32_t code, CaseMapping mapping) {
  append_code_point(text, static_cast<std::uint32_t>(mapping(static_cast<utf8proc_int32_t>(code))));
}

// The case folding of a small letter that has no capital of its own, like the sharp s ("ss"); else empty.
std::u32string folded(std::uint32_t code) {
  std::array<utf8proc_int32_t, 8> codes{};
  int last_class = 0;
  utf8proc_ssize_t size = 0;
  if (code >= 0x80 && (category(code) == UTF8PROC_CATEGORY_LL || category(code) == UTF8PROC_CATEGORY_LT)) {
    size = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), codes.data(), codes.size(), UTF8PROC_CASEFOLD,
                                   &last_class);
  }
  return size < 2 ? std::u32string() : std::u32string(codes.begin(), codes.begin() + size);
}

// utf8proc maps characters one to one, so what has no capital of its own becomes the capitals of its folding.
void append_upper(std::string* text, std::uint32_t code) {
  const std::u32string letters = folded(code);
  if (letters.empty()) {
    append_mapped(text, code, utf8proc_toupper);
  }
  for (const char32_t letter : letters) {
    append_mapped(text, letter, utf8proc_toupper);
  }
}

constexpr std::uint32_t kSmallIota = 0x3B9, kIotaBelow = 0x345;  // a folded iota goes below a capital

void append_title(std::string* text, std::uint32_t code) {
  const utf8proc_int32_t title = utf8proc_totitle(static_cast<utf8proc_int32_t>(code));
  const bool has_title = utf8proc_category(title) == UTF8PROC_CATEGORY_LT;
  const std::u32string letters = has_title ? std::u32string() : folded(code);
  if (letters.empty()) {
    append_mapped(text, code, utf8proc_totitle);
    return;
  }
  append_mapped(text, letters[0], utf8proc_toupper);
  for (const char32_t letter : letters.substr(1)) {
    if (is_cased(letters[0])) {
      append_code_point(text, letter == kSmallIota ? kIotaBelow : letter);
    } else {
      append_mapped(text, letter, utf8proc_toupper);
    }
  }
}

constexpr std::uint32_t kDottedCapitalI = 0x130, kCombiningDot = 0x307;  // the one capital of two small characters
constexpr std::uint32_t kCapitalSigma = 0x3A3, kFinalSigma = 0x3C2;      // the one letter with a form for word ends

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
  append_mapped(text, code, utf8proc_tolower);
  if (code == kDottedCapitalI) {
    append_code_point(text, kCombiningDot);
  }
}

}  // namespace

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

namespace {

// Characters in lower case, except in title case where a word starts.
std::string capitalize(std::string_view text, bool every_word) {
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
    in_word = !every_word || is_cased(code);
  }
  return result;
}

}  // namespace

std::string to_capitalized(std::string_view text) {
  return capitalize(text, false);
}

std::string to_title(std::string_view text) {
  return capitalize(text, true);
}

std::string_view strip_left(std::string_view text) {
  for (std::size_t next = 0; !text.empty() && is_space(next_code_point(text, &next)); next = 0) {
    text.remove_prefix(next);
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    const std::size_t start = previous_start(text, text.size());
    std::size_t next = start;
    if (!is_space(next_code_point(text, &next))) {
      break;
    }
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace coppice::jinja
