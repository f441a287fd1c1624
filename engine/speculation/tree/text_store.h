// TextStore: the token sequences of a suffix tree. A text lives until its sequence is removed and no edge is labelled
// with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/types.h"
#include "engine/speculation/tree/chunked_array.h"
#include "engine/speculation/tree/records.h"

namespace coppice::engine::suffix_tree {

// Owner and thread: one, the same. Sequences are named by small numbers, reused after removal.
class TextStore {
 public:
  const Sequence& operator[](SequenceId sequence) const { return sequences_[sequence]; }

  // A new, empty sequence. `growing`: index of its active ends.
  SequenceId begin();
  void set_growing(SequenceId sequence, std::uint32_t growing) { sequences_[sequence].growing = growing; }
  // Stores tokens without entering them.
  void push(SequenceId sequence, std::span<const TokenId> tokens);
  // Enters the oldest stored token that is not entered yet, and returns it.
  TokenId enter_next(SequenceId sequence);
  // The sequence grows no more: drops the tokens that are not entered, and memory that is not needed.
  void close(SequenceId sequence);

  // Counts one more, or one less, edge labelled with the sequence's text.
  void add_label(SequenceId sequence) { ++sequences_[sequence].labels; }
  void drop_label(SequenceId sequence);
  // Counts the removal of one more suffix.
  void drop_suffix(SequenceId sequence);
  // The sequence is removed; its text goes with its last label.
  void drop_sequence(SequenceId sequence);

  // Sequences begun so far.
  std::uint32_t births() const { return births_; }
  // Tokens entered, of sequences that are not gone.
  std::size_t tokens() const { return token_count_; }
  // Numbers in use or free: every SequenceId is below.
  std::uint32_t size() const { return sequences_.size(); }
  std::size_t bytes() const { return sequences_.bytes() + text_bytes_; }

 private:
  static constexpr std::uint32_t kChunkBits = 6;  // 64 records at a time, about 4 KB

  void retire(SequenceId sequence);

  ChunkedArray<Sequence, kChunkBits> sequences_;
  std::vector<SequenceId> free_sequences_;
  std::uint32_t births_ = 0;
  std::size_t token_count_ = 0;
  std::size_t text_bytes_ = 0;
};

}  // namespace coppice::engine::suffix_tree
