// A sentencepiece model's precompiled_charsmap: what normalisation makes of a text, by the longest key that begins at
// each place. A little-endian u32 of bytes of a double-array trie, the trie (units of 4 bytes), and the replacement
// strings, each ended by a NUL. The trie is Yata's (https://github.com/s-yata/darts-clone).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coppice::text {

// A unit of the double array.
struct CharsmapUnit {
  std::uint32_t bits;
  bool has_leaf() const { return (bits >> 8 & 1U) == 1; }
  std::uint32_t value() const { return bits & 0x7FFFFFFFU; }
  std::uint32_t label() const { return bits & 0x800000FFU; }  // of a leaf: no byte's
  std::uint32_t offset() const { return (bits >> 10) << ((bits & 0x200U) >> 6); }
};

// A value; immutable.
class Charsmap {
 public:
  Charsmap() = default;  // empty: text stays as it is
  // REQUIRES: charsmap_problem(map) is empty.
  explicit Charsmap(std::string_view map);

  // Bytes of the text once it is normalised. Linear.
  std::size_t normalized_bytes(std::string_view utf8) const;

 private:
  struct Match {
    std::size_t key_bytes = 0;  // 0: none
    std::size_t replacement_bytes = 0;
  };
  Match longest_at(std::string_view text) const;

  std::vector<CharsmapUnit> units_;
  std::string replacements_;
};

}  // namespace coppice::text
