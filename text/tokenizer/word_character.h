// Which characters `\w` means to the pattern library that Hugging Face uses for added tokens (Rust regex, Unicode):
// letters, marks, decimal digits, letter numbers, connectors, joiners, enclosed letters. Only single_word asks.
#pragma once

namespace coppice::text {

bool is_word_character(char32_t code_point);

}  // namespace coppice::text
