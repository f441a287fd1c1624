// The alphabet of byte-level BPE (GPT-2): vocabulary files write each byte as one printable character, a space as "Ġ",
// a newline as "Ċ". Source: bytes_to_unicode() of OpenAI's GPT-2 encoder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coppice::text {

// Returns the character that stands for a byte.
char32_t character_of_byte(std::uint8_t byte);

// Returns the byte that a character stands for, if it is in the alphabet.
std::optional<std::uint8_t> byte_of_character(char32_t character);

// Returns the bytes of a piece ("Ġthe" → " the"), if all its characters are in the alphabet.
std::optional<std::string> bytes_of_piece(std::string_view piece);

// Returns the piece of the bytes (" the" → "Ġthe").
std::string piece_of_bytes(std::string_view bytes);

}  // namespace coppice::text
