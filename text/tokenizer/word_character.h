// The characters of `\w` in the pattern library that Hugging Face uses for added tokens (Rust regex, Unicode): letters,
// marks, decimal digits, letter numbers, connectors, joiners, enclosed letters. Used for AddedToken::single_word.
#pragma once

namespace coppice::text {

bool is_word_character(char32_t code_point);

}  // namespace coppice::text
