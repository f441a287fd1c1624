// Two hash tables: byte strings to token ids, and merge pairs to (rank, id). Open addressing in flat arrays, at most
// half full. Built once, then read by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace coppice::text {

// Maps byte strings to token ids. The last id inserted for a string stays. Thread: immutable after the last insert().
class TokenTable {
 public:
  // REQUIRES: at most `count_max` inserts of different strings.
  explicit TokenTable(std::size_t count_max = 0) {
    std::size_t capacity = 16;
    while (capacity < 2 * count_max) {
      capacity *= 2;
    }
    slots_.assign(capacity, Slot{});
    mask_ = capacity - 1;
  }

  void insert(std::string_view key, TokenId id) {
    const std::uint64_t hash = hash_of(key);
    std::size_t at = hash & mask_;
    while (slots_[at].id >= 0 && !equals(slots_[at], key, tag_of(hash))) {
      at = (at + 1) & mask_;
    }
    if (slots_[at].id < 0) {
      slots_[at] = {tag_of(hash), static_cast<std::uint32_t>(key.size()), blob_.size(), -1};
      blob_.insert(blob_.end(), key.begin(), key.end());
      length_max_ = key.size() > length_max_ ? key.size() : length_max_;
    }
    slots_[at].id = id;
  }

  // Returns the id, or -1.
  TokenId find(std::string_view key) const {
    if (key.size() > length_max_) {
      return -1;
    }
    const std::uint64_t hash = hash_of(key);
    std::size_t at = hash & mask_;
    while (slots_[at].id >= 0) {
      if (equals(slots_[at], key, tag_of(hash))) {
        return slots_[at].id;
      }
      at = (at + 1) & mask_;
    }
    return -1;
  }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // upper half of the hash
    std::uint32_t length = 0;
    std::size_t offset = 0;  // in blob_
    TokenId id = -1;         // -1: empty
  };

  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

  // Multiply and fold, eight bytes at a time (wyhash's mixing step).
  static std::uint64_t hash_of(std::string_view key) {
    std::uint64_t hash = 0x9E3779B97F4A7C15ULL ^ key.size();
    const char* data = key.data();
    std::size_t left = key.size();
    while (left >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, data, 8);
      hash = mix(hash ^ word);
      data += 8;
      left -= 8;
    }
    std::uint64_t word = 0;
    for (std::size_t index = 0; index < left; ++index) {
      word = (word << 8) | static_cast<std::uint8_t>(data[index]);
    }
    return mix(hash ^ word);
  }

  static std::uint64_t mix(std::uint64_t value) {
    value *= 0xD6E8FEB86659FD93ULL;
    value ^= value >> 32;
    value *= 0xD6E8FEB86659FD93ULL;
    return value ^ (value >> 32);
  }

  bool equals(const Slot& slot, std::string_view key, std::uint32_t tag) const {
    return slot.tag == tag && slot.length == key.size() &&
           std::string_view(blob_.data() + slot.offset, slot.length) == key;
  }

  std::vector<Slot> slots_;
  std::vector<char> blob_;
  std::size_t mask_ = 0;
  std::size_t length_max_ = 0;
};

struct Merge {
  std::int32_t rank = -1;  // -1: the pair does not merge; else lower ranks merge first
  TokenId id = -1;
};

// Maps a pair of adjacent tokens to their merge. The last merge inserted for a pair stays. Thread: immutable after the
// last insert().
class MergeTable {
 public:
  explicit MergeTable(std::size_t count_max = 0) {
    std::size_t capacity = 16;
    while (capacity < 2 * count_max) {
      capacity *= 2;
    }
    slots_.assign(capacity, Slot{});
    mask_ = capacity - 1;
  }

  void insert(TokenId left, TokenId right, Merge merge) {
    const std::uint64_t key = key_of(left, right);
    std::size_t at = hash_of(key) & mask_;
    while (slots_[at].merge.rank >= 0 && slots_[at].key != key) {
      at = (at + 1) & mask_;
    }
    slots_[at] = {key, merge};
  }

  Merge find(TokenId left, TokenId right) const {
    const std::uint64_t key = key_of(left, right);
    std::size_t at = hash_of(key) & mask_;
    while (slots_[at].merge.rank >= 0) {
      if (slots_[at].key == key) {
        return slots_[at].merge;
      }
      at = (at + 1) & mask_;
    }
    return {};
  }

 private:
  struct Slot {
    std::uint64_t key = 0;
    Merge merge;  // rank -1: empty
  };

  static std::uint64_t key_of(TokenId left, TokenId right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
  }

  static std::size_t hash_of(std::uint64_t key) {
    key *= 0x9E3779B97F4A7C15ULL;
    return static_cast<std::size_t>(key ^ (key >> 32));
  }

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace coppice::text
