// Checks, repairs and walks UTF-8. Tokenizers repair every text before they encode it. "Maximal subpart" is the policy
// of Unicode 3.9 (D93b), of Python's errors="replace" and of Rust's from_utf8_lossy.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace coppice::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Step {
  char32_t code_point = 0;  // U+FFFD if not valid
  std::size_t length = 1;   // bytes of the character, or of the maximal subpart
  bool valid = false;
  bool cut_short = false;  // not valid only because the text ends: more bytes could complete it
};

// Returns the character that begins at text[at].
// REQUIRES: at < text.size().
Utf8Step utf8_step(std::string_view text, std::size_t at);

bool is_valid_utf8(std::string_view text);

// Returns `text` with every maximal subpart that is not UTF-8 replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

void append_utf8(std::string& out, char32_t code_point);

// Returns the number of bytes at the end of `text` that begin an incomplete character (0 to 3).
std::size_t utf8_cut_short_tail(std::string_view text);

// Returns whether the character has the Unicode property White_Space: `\s` in Hugging Face's pattern libraries.
bool is_white_space(char32_t code_point);

}  // namespace coppice::text
