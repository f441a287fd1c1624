// SuffixTree: all substrings, up to a depth, of many token sequences that may still grow, with exact counts. Online:
// a token is appended to any sequence at any time, and what the sequence's end matches elsewhere is carried forward
// rather than searched again.
//
// A path-compressed trie of suffixes cut at `depth` tokens (Weiner's and Ukkonen's tree; the depth makes one suffix's
// work bounded and removal possible). Three things make it small and quick:
//   - An edge's text is a slice of some stored sequence, moved to the newest sequence that passes, so that removing
//     old sequences frees their text.
//   - A suffix that occurs once is a leaf whose text runs on with its sequence: growing costs nothing. Only suffixes
//     that occur elsewhere too ("active") are advanced, mostly by comparing one token.
//   - Counts are exact at every moment: a node counts the suffixes that reached its end; those whose sequence's end is
//     inside an edge ("riders") are listed at that edge.
//
//   count of a string that ends at depth k inside an edge = edge's node's count + its riders at depth k or beyond
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/types.h"
#include "engine/speculation/child_index.h"
#include "engine/speculation/chunked_array.h"
#include "engine/speculation/suffix_tree_records.h"

namespace coppice::engine {

// Owner and thread: one, the same. Sequences are named by small numbers, reused after removal.
class SuffixTree {
 public:
  using NodeId = suffix_tree::NodeId;
  using SequenceId = suffix_tree::SequenceId;
  static constexpr NodeId kNoNode = suffix_tree::kNoNode;
  static constexpr NodeId kRoot = 1;
  static constexpr std::int32_t kDepthMax = 255;

  // A place in the tree: the string of `depth` tokens that ends in the edge above `node`, at its end when depth equals
  // the node's.
  struct Place {
    NodeId node = kNoNode;
    std::uint32_t depth = 0;
  };

  // `depth`: longest substring that is kept, 1 to kDepthMax.
  explicit SuffixTree(std::int32_t depth);
  SuffixTree(const SuffixTree&) = delete;
  SuffixTree& operator=(const SuffixTree&) = delete;

  // A sequence that grows. Only growing sequences have a match.
  SequenceId begin();
  // Stores tokens without entering them yet.
  void push(SequenceId sequence, std::span<const TokenId> tokens);
  // Enters at most `count` stored tokens into the tree; how many it did.
  std::size_t enter(SequenceId sequence, std::size_t count);
  // Stores one more token and enters the oldest that waits: this one, unless others wait.
  void append(SequenceId sequence, TokenId token) {
    push(sequence, std::span<const TokenId>(&token, 1));
    enter(sequence, 1);
  }
  std::size_t waiting(SequenceId sequence) const {
    return sequences_[sequence].text->size() - sequences_[sequence].length;
  }
  // The sequence grows no more; tokens that still wait are dropped.
  void finish(SequenceId sequence);
  // Takes a finished sequence out, at most `count` of its suffixes in this call. True when it is gone.
  // REQUIRES: once begun, nothing else but calls for other sequences until it is gone.
  bool remove(SequenceId sequence, std::size_t count);

  // The tokens entered so far.
  std::span<const TokenId> text(SequenceId sequence) const {
    return {sequences_[sequence].tokens, sequences_[sequence].length};
  }

  // The text of a finished sequence, which outlives it.
  std::shared_ptr<const std::vector<TokenId>> shared_text(SequenceId sequence) const {
    return sequences_[sequence].text;
  }

  // Calls visit(Place) for each suffix of a growing sequence, shorter than the depth limit, that something has followed
  // before, longest first, until it says false. The place may be at a node's end, where several tokens may follow, or
  // inside an edge.
  template <typename Visit>
  void visit_matches(SequenceId sequence, const Visit& visit) const {
    const Sequence& record = sequences_[sequence];
    const Live& live = *lives_[record.live];
    for (std::uint32_t start = live.first; start < record.length; ++start) {
      const Active& active = live.ring[start & ring_mask_];
      if (active.node == kNoNode) {
        continue;
      }
      const Place place{active.node, active.depth};
      if (has_followers(place) && !visit(place)) {
        return;
      }
    }
  }

  // The place of a string, depth 0 and the root for the empty one; kNoNode when it does not occur.
  Place find(std::span<const TokenId> string) const;
  // How often the place's string occurs: once a position, overlapping ones included.
  std::uint32_t count(Place place) const {
    const Node& node = nodes_[place.node];
    return node.count + riders_at(node, place.depth);
  }
  // How often something followed the place's string; about, when it is more than `children_max` different tokens.
  std::uint32_t followed_count(Place place, int children_max) const;
  // The place after `place` by a token; kNoNode when it was never followed by it.
  Place follow(Place place, TokenId token) const {
    const Node& node = nodes_[place.node];
    if (place.depth == node.depth) {
      return {child(place.node, token), place.depth + 1};
    }
    return inner_token(node, place.depth) == token ? Place{place.node, place.depth + 1} : Place{};
  }
  // Calls visit(token, Place) for what follows, the likeliest about first, until it says false.
  template <typename Visit>
  void visit_followers(Place place, const Visit& visit) const {
    const Node& node = nodes_[place.node];
    if (place.depth != node.depth) {
      const TokenId token = inner_token(node, place.depth);
      if (token != kNoToken) {
        visit(token, Place{place.node, place.depth + 1});
      }
      return;
    }
    for (NodeId at = node.first_child; at != kNoNode;) {
      const Node& follower = nodes_[at];
      const NodeId after = follower.next;
      if (!visit(follower.token, Place{at, place.depth + 1})) {
        return;
      }
      at = after;
    }
  }
  bool has_followers(Place place) const;
  // How old the newest text through a place is: sequences that began since its own, and tokens that its own took since.
  struct Age {
    std::uint32_t sequences = 0;
    std::uint32_t tokens = 0;
    bool operator<(const Age& other) const {
      return sequences != other.sequences ? sequences < other.sequences : tokens < other.tokens;
    }
  };
  Age age(Place place) const {
    const Node& node = nodes_[place.node];
    const Sequence& sequence = sequences_[node.sequence];
    const std::uint32_t end = node.end - node.depth + place.depth;
    return {births_ - sequence.birth, sequence.length > end ? sequence.length - end : 0};
  }
  std::int32_t depth() const { return static_cast<std::int32_t>(depth_); }
  std::size_t nodes() const { return nodes_.size() - 1 - free_node_count_; }
  std::size_t tokens() const { return token_count_; }
  // Memory in use: nodes, index, text, state of growing sequences. While the index grows it takes more, at most a
  // fifth, which is not counted, lest each growth drive out what it will have room for.
  std::size_t bytes() const;
  // Frees a part of a tree that is of no use from then on; true while there is more. So a large one goes without a
  // pause.
  bool dissolve();

  // What is wrong with the first node, rider, count or label that is not as it must be, or "". Slow: for tests.
  std::string integrity_problem() const;

 private:
  friend struct SuffixTreeCheck;
  static constexpr std::uint32_t kNoRider = suffix_tree::kNoRider;
  static constexpr TokenId kNoToken = suffix_tree::kNoToken;
  static constexpr std::uint32_t kNotLive = suffix_tree::kNotLive;

  using Node = suffix_tree::Node;
  using Active = suffix_tree::Active;
  using Live = suffix_tree::Live;
  using Sequence = suffix_tree::Sequence;

  NodeId child(NodeId parent, TokenId token) const {
    return index_.find(ChildIndex::hash(parent, token),
                       [&](NodeId node) { return nodes_[node].parent == parent && nodes_[node].token == token; });
  }
  // The token after `depth` tokens of a node's string; kNoToken where the text has not been written yet.
  TokenId inner_token(const Node& node, std::uint32_t depth) const {
    const Sequence& sequence = sequences_[node.sequence];
    const std::uint32_t at = node.end - node.depth + depth;
    return at < sequence.length ? sequence.tokens[at] : kNoToken;
  }
  // A rider's number is its growing sequence's, times the ring's size, plus its place in the ring.
  Active& active_of(std::uint32_t rider) const { return lives_[rider >> ring_bits_]->ring[rider & ring_mask_]; }
  std::uint32_t riders_at(const Node& node, std::uint32_t depth) const {
    std::uint32_t count = 0;
    for (std::uint32_t rider = node.riders; rider != kNoRider; rider = active_of(rider).next) {
      count += active_of(rider).depth >= depth ? 1 : 0;
    }
    return count;
  }
  SequenceId sequence_of(std::uint32_t rider) const { return lives_[rider >> ring_bits_]->sequence; }

  void enter_token(SequenceId sequence);
  void fetch_followers(const Live& live, std::uint32_t end, TokenId token) const;
  void advance(std::uint32_t rider, TokenId token);
  void leave_node(std::uint32_t rider, TokenId token);
  void reach_end(std::uint32_t rider, NodeId node);
  void add_leaf(NodeId parent, TokenId token, SequenceId sequence, std::uint32_t start);
  void link_rider(NodeId node, std::uint32_t rider);
  void unlink_rider(NodeId node, std::uint32_t rider);
  NodeId end_edge_at(std::uint32_t rider);
  void cut_leaf(NodeId leaf, std::uint32_t depth);
  NodeId split(NodeId node, std::uint32_t depth, SequenceId sequence, std::uint32_t end);
  void settle_riders(NodeId from, NodeId to, std::uint32_t depth);

  NodeId new_node();
  void free_node(NodeId node);
  void set_label(Node& node, SequenceId sequence, std::uint32_t end);
  void drop_label(SequenceId sequence);
  void take_place(NodeId node, NodeId of);
  void link_child(NodeId parent, NodeId node);
  void unlink_child(NodeId node);
  void promote(NodeId node);
  std::uint32_t take_live(SequenceId sequence);
  void remove_suffix(SequenceId sequence, std::uint32_t start);
  void remove_node_or_adopt(NodeId node);
  void merge_if_idle(NodeId node);
  void retire(SequenceId sequence);

  const std::uint32_t depth_;
  std::uint32_t births_ = 0;  // sequences begun so far
  std::uint32_t ring_bits_ = 0;
  std::uint32_t ring_mask_ = 0;
  ChunkedArray<Node, 8> nodes_;
  ChunkedArray<Sequence, 6> sequences_;
  ChildIndex index_;
  std::vector<std::unique_ptr<Live>> lives_;
  std::vector<std::uint32_t> free_lives_;
  std::vector<SequenceId> free_sequences_;
  NodeId free_node_ = kNoNode;  // a list through `next`
  std::size_t free_node_count_ = 0;
  std::size_t token_count_ = 0;  // stored, of sequences that are not gone
  std::size_t text_bytes_ = 0;
};

}  // namespace coppice::engine
