// Printable Latin-1 bytes stand for themselves; the other 68 get the characters from U+0100 on, in ascending order.
#include "text/tokenizer/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<std::int16_t, 0x144> byte{};  // -1: not in the alphabet
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t character = stands_for_itself(byte) ? byte : next++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t character_of_byte(std::uint8_t byte) {
  return kAlphabet.character[byte];
}

std::optional<std::uint8_t> byte_of_character(char32_t character) {
  if (character >= kAlphabet.byte.size() || kAlphabet.byte[character] < 0) {
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(kAlphabet.byte[character]);
}

std::optional<std::string> bytes_of_piece(std::string_view piece) {
  std::string bytes;
  std::size_t at = 0;
  while (at < piece.size()) {
    const Utf8Step step = utf8_step(piece, at);
    const std::optional<std::uint8_t> byte = byte_of_character(step.code_point);
    if (!step.valid || !byte.has_value()) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(*byte));
    at += step.length;
  }
  return bytes;
}

std::string piece_of_bytes(std::string_view bytes) {
  std::string piece;
  for (const char byte : bytes) {
    append_utf8(piece, character_of_byte(static_cast<std::uint8_t>(byte)));
  }
  return piece;
}

}  // namespace coppice::text
