// Where a key or a value is in the CPU's KV cache. The unit is a 32-bit word: two bf16 numbers that one step
// multiplies, or one f32. Sixteen keys are side by side, so that their scores fill one vector; a value's dimensions are
// side by side, so that an output row fills vectors:
//
//   K block of 16 keys   [steps][16]                  word (s, k) = dimensions (2s, 2s + 1) of key k; f32: dimension s
//   V block of 16 keys   [16 / per_word][dim_lanes]   word (t, d) = keys (2t, 2t + 1) at dimension d; f32: key t
//   one page of one head = its K blocks, then its V blocks; the cache is [layer][key_head][page]
//
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
};

// Plain numbers, in words; immutable. Made by kv_layout_of().
struct KvLayout {
  KvFormat format;
  std::int32_t per_word = 2;     // numbers in a word: 2 (bf16), 1 (f32)
  std::int32_t head_dim = 0;     // a multiple of 8
  std::int32_t dim_lanes = 0;    // head_dim rounded up to whole vectors
  std::int32_t steps = 0;        // head_dim / per_word
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
    return {page + std::int64_t{block} * key_block_words + lane,
            page + std::int64_t{page_blocks} * key_block_words + std::int64_t{block} * value_block_words +
                std::int64_t{lane / per_word} * dim_lanes,
            lane % per_word * (kWordBytes / per_word)};
  }
};

}  // namespace coppice::kernels::cpu
