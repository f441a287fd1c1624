// Store: everything that a suffix tree holds: texts, nodes (node_store.h), active ends, and what takes more than one of
// them. Growth and removal work on it,
// SuffixTree answers from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/types.h"
#include "engine/speculation/tree/node_store.h"

namespace coppice::engine::suffix_tree {

// The end of one suffix of a growing sequence, active while other suffixes run through it too.
struct End {
  NodeId node = kNoNode;  // kNoNode: not active: on a leaf of its own, or at the depth limit
  std::uint32_t start : 24 = 0;
  std::uint32_t depth : 8 = 0;
  EndId next = kNoEnd;  // of the same edge; only while inside one
  EndId previous = kNoEnd;
};

// The ends of a growing sequence, by start modulo the size of the ring.
struct Growing {
  SequenceId sequence = 0;
  std::uint32_t first = 0;  // no suffix that starts before is active
  std::unique_ptr<End[]> ring;
};

struct Sequence {
  std::shared_ptr<std::vector<TokenId>> text;  // shared with snapshots once the sequence grows no more
  const TokenId* tokens = nullptr;             // of `text`
  std::uint32_t length = 0;                    // tokens entered
  std::uint32_t labels = 0;                    // nodes whose edge this text labels
  std::uint32_t growing = kNotGrowing;
  std::uint32_t removed = 0;  // suffixes taken out
  std::uint32_t birth = 0;    // ordinal among all sequences begun
  bool is_gone = false;       // taken out, kept for the edges that its text labels
};

// The token sequences. A text lives until its sequence is removed and no edge is labelled with it. Owner and thread:
// one, the same. Sequences are named by small numbers, reused after removal.
class TextStore {
 public:
  const Sequence& operator[](SequenceId sequence) const { return sequences_[sequence]; }

  // At most that number of sequences at once. REQUIRES: sequences_max <= kSequencesMax.
  explicit TextStore(std::uint32_t sequences_max) : sequences_max_(sequences_max) {}

  // No more sequences can begin until one is removed and its text goes.
  bool is_full() const { return free_sequences_.empty() && sequences_.size() >= sequences_max_; }
  // A new, empty sequence. REQUIRES: !is_full().
  SequenceId begin();
  void set_growing(SequenceId sequence, std::uint32_t growing) { sequences_[sequence].growing = growing; }
  // Stores tokens without entering them. A sequence has fewer than kTokensMax: those beyond are dropped.
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

  // Bytes of a text beside its tokens: the shared vector, and what the allocator adds to it and to them.
  static constexpr std::size_t kTextBytes = 80;

  void retire(SequenceId sequence);

  const std::uint32_t sequences_max_;
  ChunkedArray<Sequence, kChunkBits> sequences_;
  std::vector<SequenceId> free_sequences_;
  std::uint32_t births_ = 0;
  std::size_t token_count_ = 0;
  std::size_t text_bytes_ = 0;
};

// Where the suffixes of the growing sequences end. A suffix that other suffixes run through too is active, and each
// token that its sequence takes advances its end. An end inside an edge stands in that edge's list. Owner and thread:
// one, the same.
class ActiveEnds {
 public:
  // `depth`: of the tree. A sequence has at most that number of active ends.
  explicit ActiveEnds(std::uint32_t depth);

  // Ends for a sequence that starts to grow; their index. None is active.
  std::uint32_t open(SequenceId sequence);
  void close(std::uint32_t growing) { free_.push_back(growing); }
  Growing& growing(std::uint32_t index) { return *growing_[index]; }
  const Growing& growing(std::uint32_t index) const { return *growing_[index]; }

  // The end of the suffix that starts at token `start`.
  End& at(Growing& growing, std::uint32_t start) { return growing.ring[start & ring_mask_]; }
  const End& at(const Growing& growing, std::uint32_t start) const { return growing.ring[start & ring_mask_]; }
  EndId id(std::uint32_t growing, std::uint32_t start) const { return growing << ring_bits_ | (start & ring_mask_); }
  End& operator[](EndId end) { return growing_[end >> ring_bits_]->ring[end & ring_mask_]; }
  const End& operator[](EndId end) const { return growing_[end >> ring_bits_]->ring[end & ring_mask_]; }
  SequenceId sequence(EndId end) const { return growing_[end >> ring_bits_]->sequence; }

  // Puts an end into the list of the edge above `number`, which is `node`; takes it out.
  void link(Node& node, NodeId number, EndId end);
  void unlink(Node& node, EndId end);
  // How many ends inside the edge above the node are at least `depth` deep.
  std::uint32_t count_inside(const Node& node, std::uint32_t depth) const {
    std::uint32_t count = 0;
    for (EndId end = node.inner_ends; end != kNoEnd; end = (*this)[end].next) {
      count += (*this)[end].depth >= depth ? 1 : 0;
    }
    return count;
  }

  std::size_t bytes() const { return growing_.size() * (sizeof(Growing) + ring_size() * sizeof(End)); }

 private:
  std::size_t ring_size() const { return std::size_t{ring_mask_} + 1; }

  const std::uint32_t ring_bits_;
  const std::uint32_t ring_mask_;
  std::vector<std::unique_ptr<Growing>> growing_;
  std::vector<std::uint32_t> free_;
};

// Owner and thread: one, the same.
struct Store {
  Store(std::uint32_t depth_max, std::uint32_t sequences_max)
      : depth(depth_max), texts(sequences_max), ends(depth_max) {}

  const std::uint32_t depth;  // longest substring that is kept
  TextStore texts;
  NodeStore nodes;
  ActiveEnds ends;

  // The token after `at` tokens of a node's string; kNoToken where the text has not been written yet.
  TokenId inner_token(const Node& node, std::uint32_t at) const {
    const Sequence& sequence = texts[node.sequence];
    const std::uint32_t position = node.end - node.depth + at;
    return position < sequence.length ? sequence.tokens[position] : kNoToken;
  }

  // The node's string ends at text[end) of `sequence` from now on.
  void set_label(Node& node, SequenceId sequence, std::uint32_t end) {
    if (node.sequence != sequence) {
      texts.drop_label(node.sequence);
      texts.add_label(sequence);
      node.sequence = sequence & (kSequencesMax - 1);
    }
    node.end = end;
  }

  // The edge above `to` now ends at `depth`: of the ends inside the edge above `from`, those at that depth reach `to`,
  // those before it move to the edge above `to`.
  void settle_ends(NodeId from, NodeId to, std::uint32_t at);
};

}  // namespace coppice::engine::suffix_tree
