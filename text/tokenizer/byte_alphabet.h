// The alphabet of byte-level BPE (GPT-2): every byte has a printable character that stands for it in vocabulary files,
// space is "Ġ", newline "Ċ". Source: bytes_to_unicode() of OpenAI's GPT-2 encoder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coppice::text {

// The character that stands for a byte.
char32_t character_of_byte(std::uint8_t byte);

// The byte that a character stands for.
std::optional<std::uint8_t> byte_of_character(char32_t character);

// "Ġthe" → " the"; nothing when a character is not of the alphabet.
std::optional<std::string> bytes_of_piece(std::string_view piece);

// " the" → "Ġthe".
std::string piece_of_bytes(std::string_view bytes);

}  // namespace coppice::text
