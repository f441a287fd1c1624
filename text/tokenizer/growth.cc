// Counts what it can while the text is the one that came, and takes the worst afterwards.
#include "text/tokenizer/growth.h"

#include <algorithm>
#include <cstdint>

namespace coppice::text {
namespace {

constexpr std::size_t kComposedFactor = 3;  // bytes that NFC makes of one, at most (Unicode Standard Annex 15)

std::size_t count_from(std::string_view text, std::uint8_t first) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [first](char byte) { return static_cast<std::uint8_t>(byte) >= first; }));
}

std::size_t count_of(std::string_view text, std::string_view literal) {
  std::size_t count = 0;
  for (std::size_t at = text.find(literal); at < text.size(); at = text.find(literal, at + literal.size())) {
    ++count;
  }
  return count;
}

}  // namespace

void Growth::add(std::size_t count, std::size_t bytes, std::size_t symbols) {
  bytes_ += count * bytes;
  symbols_ += count * symbols;
  is_text_ = is_text_ && count == 0;
}

void Growth::normalize(std::size_t factor) {
  add(is_text_ ? before_ + count_from(text_, 0x80) : bytes_, factor - 1, factor - 1);
}

void Growth::compose() {
  if (!is_text_ || before_ > 0 || count_from(text_, 0xCC) > 0) {  // the first character that NFC may change
    normalize(kComposedFactor);
  }
}

void Growth::prepend(std::string_view content) {
  const bool is_text = is_text_;
  add(1, content.size(), symbols_of_(content));
  is_text_ = is_text;
  before_ += content.size();
}

void Growth::replace(std::string_view literal, std::string_view content) {
  if (!is_text_) {
    return replace(literal.size(), content);
  }
  const std::size_t symbols = symbols_of_(content);
  add(before_ + count_of(text_, literal), content.size() - std::min(content.size(), literal.size()),
      symbols - std::min<std::size_t>(symbols, 1));
}

void Growth::replace(std::size_t bytes_min, std::string_view content) {
  const std::size_t count = bytes_min == 0 ? bytes_ + 1 : bytes_ / bytes_min;
  const std::size_t symbols = symbols_of_(content);
  add(count, content.size() - std::min(content.size(), bytes_min),
      symbols - std::min<std::size_t>(symbols, bytes_min == 0 ? 0 : 1));
}

void Growth::prepend_to_pieces(std::string_view content) {
  if (is_cut_) {
    add(bytes_, content.size(), symbols_of_(content));
  } else {
    prepend(content);
  }
}

}  // namespace coppice::text
