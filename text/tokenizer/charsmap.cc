// The library's own walk, without its bounds on matches, which the check has made sure of.
#include "text/tokenizer/charsmap.h"

#include <cstring>

#include "text/utf8.h"

namespace coppice::text {

Charsmap::Charsmap(std::string_view map) {
  std::uint32_t trie_bytes = 0;
  if (map.size() < sizeof(trie_bytes)) {
    return;
  }
  std::memcpy(&trie_bytes, map.data(), sizeof(trie_bytes));
  units_.resize(trie_bytes / sizeof(CharsmapUnit));
  std::memcpy(units_.data(), map.data() + sizeof(trie_bytes), trie_bytes);
  replacements_ = map.substr(sizeof(trie_bytes) + trie_bytes);
}

Charsmap::Match Charsmap::longest_at(std::string_view text) const {
  Match longest;
  std::size_t at = units_[0].offset();
  for (std::size_t length = 1; length <= text.size(); ++length) {
    const auto byte = static_cast<std::uint8_t>(text[length - 1]);
    at ^= byte;
    const CharsmapUnit unit = units_[at];
    if (unit.label() != byte) {
      break;
    }
    at ^= unit.offset();
    if (unit.has_leaf()) {
      longest = {length, std::strlen(replacements_.c_str() + units_[at].value())};
    }
  }
  return longest;
}

std::size_t Charsmap::normalized_bytes(std::string_view utf8) const {
  if (units_.empty()) {
    return utf8.size();
  }
  std::size_t bytes = 0;
  while (!utf8.empty()) {
    const Match match = longest_at(utf8);
    const std::size_t length = match.key_bytes > 0 ? match.key_bytes : utf8_step(utf8, 0).length;
    bytes += match.key_bytes > 0 ? match.replacement_bytes : length;
    utf8.remove_prefix(length);
  }
  return bytes;
}

}  // namespace coppice::text
