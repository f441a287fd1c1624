// Growth: how long a text may get while a tokenizer rewrites it, known before anything is rewritten.
#pragma once

#include <cstddef>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace coppice::text {

// Upper bounds, taken along through the steps of a normalizer and a pre-tokenizer. A symbol is what BPE begins with: a
// character or a byte. Each method costs one look through the text at most.
class Growth {
 public:
  // Returns how many symbols a string becomes.
  using Symbols = absl::FunctionRef<std::size_t(std::string_view)>;

  // `text` and `symbols` outlive this. REQUIRES: a character of the text becomes no more symbols than it has bytes.
  Growth(std::string_view text, Symbols symbols)
      : text_(text), symbols_of_(symbols), bytes_(text.size()), symbols_(text.size()) {}

  std::size_t bytes() const { return bytes_; }
  std::size_t symbols() const { return symbols_; }

  // A form of Unicode that makes `factor` times as many bytes of some characters beyond ASCII.
  void normalize(std::size_t factor);
  // NFC, which leaves most texts alone.
  void compose();
  // `content` comes before the text.
  void prepend(std::string_view content);
  // `content` comes for each `literal`.
  void replace(std::string_view literal, std::string_view content);
  // `content` comes for each match of a pattern that matches `bytes_min` bytes at least.
  void replace(std::size_t bytes_min, std::string_view content);
  // The text is cut to pieces, of one character at worst.
  void cut() { is_cut_ = true; }
  // `content` comes before each piece.
  void prepend_to_pieces(std::string_view content);

 private:
  void add(std::size_t count, std::size_t bytes, std::size_t symbols);

  const std::string_view text_;
  const Symbols symbols_of_;
  std::size_t bytes_;
  std::size_t symbols_;
  std::size_t before_ = 0;  // bytes that came before the text
  bool is_text_ = true;     // it is still the text, behind what came before it
  bool is_cut_ = false;
};

}  // namespace coppice::text
