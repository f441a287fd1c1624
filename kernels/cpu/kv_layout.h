// Where a key or a value is in the CPU's KV cache. The unit is a 32-bit word: four 8-bit numbers, two bf16 numbers or
// one f32, which one step multiplies. Sixteen keys are side by side, so that their scores fill one vector; a value's
// dimensions are side by side, so that an output row fills vectors. With n numbers in a word:
//
//   K block of 16 keys   [steps][16]           word (s, k) = dimensions (n s … n s + n - 1) of key k
//   V block of 16 keys   [16 / n][dim_lanes]   word (t, d) = keys (n t … n t + n - 1) at dimension d
//   one page of one head = its K blocks, then its V blocks; the cache is [layer][key_head][page]
//
// Where numbers have scales, each block ends with those of its sixteen keys (or values), one f32 a word: a block, a
// page and a cache are copied as they are, and the scales of sixteen keys are one vector.
// So both products of attention have the same inner loop: broadcast a word of the row, multiply by a vector of words.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats.h"

namespace coppice::kernels::cpu {

inline constexpr std::int32_t kBlockKeys = 16;  // keys side by side: the lanes of a vector of words
inline constexpr std::int32_t kWordBytes = 4;   // of the 32-bit words that the cache is made of

// Where one key of one head is, in words from the head's first page.
struct SlotPlace {
  std::int64_t key = 0;         // step 0; step s is kBlockKeys * s words on
  std::int64_t value = 0;       // dimension 0; dimension d is d words on
  std::int32_t value_byte = 0;  // of the key's numbers within those words
  std::int64_t key_scale = 0;   // if there are scales
  std::int64_t value_scale = 0;
};

// Plain numbers, in words; immutable. Made by kv_layout_of().
struct KvLayout {
  KvFormat format;
  std::int32_t per_word = 2;     // numbers in a word: 4 (int8), 2 (bf16), 1 (f32)
  std::int32_t head_dim = 0;     // a multiple of 8
  std::int32_t dim_lanes = 0;    // head_dim rounded up to whole vectors
  std::int32_t steps = 0;        // head_dim / per_word
  std::int32_t scale_words = 0;  // at the end of a block: kBlockKeys or 0
  std::int32_t page_size = 16;   // a multiple of kBlockKeys
  std::int32_t page_blocks = 1;  // page_size / kBlockKeys
  std::int32_t key_block_words = 0;
  std::int32_t value_block_words = 0;
  std::int64_t page_words = 0;   // one page of one head, K and V
  std::int64_t head_words = 0;   // all pages of one head
  std::int64_t layer_words = 0;  // all heads of one layer

  SlotPlace place(std::int32_t slot) const {
    const std::int32_t offset = slot % page_size;
    const std::int32_t block = offset / kBlockKeys;
    const std::int32_t lane = offset % kBlockKeys;
    const std::int64_t page = slot / page_size * page_words;
    const std::int64_t keys = page + std::int64_t{block} * key_block_words;
    const std::int64_t values =
        page + std::int64_t{page_blocks} * key_block_words + std::int64_t{block} * value_block_words;
    return {.key = keys + lane,
            .value = values + std::int64_t{lane / per_word} * dim_lanes,
            .value_byte = lane % per_word * (kWordBytes / per_word),
            .key_scale = keys + key_block_words - scale_words + lane,
            .value_scale = values + value_block_words - scale_words + lane};
  }
};

}  // namespace coppice::kernels::cpu
