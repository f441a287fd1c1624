// What Python's str methods need of text: code point indexing, whitespace, case (from utf8proc), search and lines.
// REQUIRES of every function: valid UTF-8. ENSURES: results are valid UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "text/jinja/heap.h"

namespace coppice::jinja {

std::size_t code_point_count(std::string_view text);
// Returns the bytes of the character that starts with `lead`.
std::size_t sequence_length(char lead);
// Returns the character at byte `*position`, which is moved past it. REQUIRES: *position < text.size().
char32_t next_code_point(std::string_view text, std::size_t* position);
// Returns the start of the character that ends before byte `position`. REQUIRES: position > 0.
std::size_t previous_start(std::string_view text, std::size_t position);
// Returns the byte where code point number `count` starts (text.size() beyond the end).
std::size_t byte_offset(std::string_view text, std::size_t count);

// Python's str.isspace() and str.isprintable() of one character.
bool is_space(char32_t code);
bool is_printable(char32_t code);

enum class LetterCase { kUpper, kLower, kCapitalized, kTitle, kTitleFilter };
// Returns `text` as str.upper(), lower(), capitalize(), title(), or jinja2's filter title, in which words begin after
// blanks, "-" and opening brackets, write it.
Value to_case(Heap& heap, const StringRef& text, LetterCase letter_case);

// Return `text` without whitespace at one end.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

// Returns where `needle` first occurs at `from` or later; npos when it does not, and when the rendering has failed.
std::size_t find_text(Budget& budget, std::string_view text, std::string_view needle, std::size_t from);
// Returns the line of str.splitlines() at byte `*position`, which is moved past its end. REQUIRES: as
// next_code_point().
std::string_view next_line(Budget& budget, std::string_view text, std::size_t* position);

}  // namespace coppice::jinja
