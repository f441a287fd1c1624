// The few integer types that cross floors. A token id, a page and a slot are different things even where they are all
// 32 bits.
#pragma once

#include <cstdint>

namespace coppice {

// An index into a model's vocabulary. Negative values never name a token.
using TokenId = std::int32_t;
inline constexpr TokenId kNoToken = -1;  // tokens are not negative

// A page of the KV pool: page_size consecutive token positions of one sequence, in every layer.
using PageId = std::int32_t;
inline constexpr PageId kNoPage = -1;  // pages are not negative

// A token's place in the KV pool: page * page_size + offset in the page.
using KvSlot = std::int32_t;
inline constexpr KvSlot kNoSlot = -1;  // of a row whose K and V are stored nowhere

// Index of a live sequence: stable while it lives, reused after. Keys the sampler's and the speculator's state.
using SequenceSlot = std::int32_t;
inline constexpr SequenceSlot kNoSequence = -1;  // slots are not negative

}  // namespace coppice
