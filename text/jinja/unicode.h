// UTF-8 and the Unicode properties that Python's str methods depend on, from utf8proc: code point indexing, whitespace,
// classes, case. REQUIRES of every function but valid_utf8(): valid UTF-8. ENSURES: results are valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::jinja {

bool valid_utf8(std::string_view text);
std::size_t code_point_count(std::string_view text);
// Bytes of the character that starts with `lead`.
std::size_t sequence_length(char lead);
// The character at byte `*position`, which is moved past it. REQUIRES: *position < text.size().
std::uint32_t next_code_point(std::string_view text, std::size_t* position);
// The start of the character that ends before byte `position`. REQUIRES: position > 0.
std::size_t previous_start(std::string_view text, std::size_t position);
void append_code_point(std::string* text, std::uint32_t code);
std::vector<std::uint32_t> decode_utf8(std::string_view text);
// The byte where code point number `count` starts (text.size() beyond the end).
std::size_t byte_offset(std::string_view text, std::size_t count);

// Python's str predicates for one character.
bool is_space(std::uint32_t code);
bool is_line_break(std::uint32_t code);  // where str.splitlines() splits
bool is_digit(std::uint32_t code);
bool is_printable(std::uint32_t code);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
// First character in title case, the rest in lower case.
std::string to_capitalized(std::string_view text);
// str.title(): each run of cased characters capitalized.
std::string to_title(std::string_view text);

// `text` without whitespace at its ends.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

}  // namespace coppice::jinja
