// SuffixTree: all substrings, up to a depth, of many token sequences that may still grow, with exact counts. Online:
// a token may be appended to any sequence at any time, and what the sequence's end matches elsewhere is carried forward
// rather than searched again.
//
// A path-compressed trie of suffixes cut at `depth` tokens (Weiner's and Ukkonen's tree; the depth bounds the work of
// one suffix and makes removal possible). Three things make it small and quick:
//   - An edge's text is a slice of some stored sequence, and moves to the newest sequence that passes, so that removing
//     old sequences frees their text.
//   - A suffix that occurs once is a leaf whose text runs on with its sequence: growing it costs nothing. Only suffixes
//     that occur elsewhere too are active and advanced, mostly by comparing one token.
//   - Counts are exact at every moment: a node counts the suffixes that have reached it; active ends inside an edge are
//     listed at that edge.
//
//   count of a string that ends at depth k inside an edge = count of the edge's node + active ends inside the edge at
//   depth k or deeper
//
// What the tree holds is in tree/store.h, how it grows in tree/growth.h, how it shrinks in tree/removal.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/types.h"
#include "engine/speculation/tree/store.h"

namespace coppice::engine {

// Owner and thread: one, the same. Sequences are named by small numbers, reused after removal.
class SuffixTree {
 public:
  using NodeId = suffix_tree::NodeId;
  using SequenceId = suffix_tree::SequenceId;
  static constexpr NodeId kNoNode = suffix_tree::kNoNode;            // no string
  static constexpr NodeId kRoot = suffix_tree::kRoot;                // the empty string
  static constexpr std::int32_t kDepthMax = suffix_tree::kDepthMax;  // tokens

  // A string of the tree: the `depth` tokens that end in the edge above `node`, or at the node when depth equals the
  // node's.
  struct Locus {
    NodeId node = kNoNode;
    std::uint32_t depth = 0;
  };
  // How old the newest text through a locus is: sequences that began since that text did, and tokens that its sequence
  // took since.
  struct Age {
    std::uint32_t sequences = 0;
    std::uint32_t tokens = 0;
    bool operator<(const Age& other) const {
      return sequences != other.sequences ? sequences < other.sequences : tokens < other.tokens;
    }
  };

  static constexpr std::uint32_t kSequencesMax = suffix_tree::kSequencesMax;  // numbered with 24 bits

  // `depth`: longest substring that is kept; `sequences_max`: at once, those included whose text outlives them.
  // REQUIRES: 1 <= depth <= kDepthMax; sequences_max <= kSequencesMax.
  explicit SuffixTree(std::int32_t depth, std::uint32_t sequences_max = kSequencesMax);
  SuffixTree(const SuffixTree&) = delete;
  SuffixTree& operator=(const SuffixTree&) = delete;

  // No sequence can begin: there are sequences_max.
  bool is_full() const { return store_.texts.is_full(); }
  // Starts a sequence, which grows until finish(). Only growing sequences have matches. REQUIRES: !is_full().
  SequenceId begin();
  // Stores tokens without entering them; those beyond 2^24 - 1 of a sequence are dropped. REQUIRES: the sequence grows.
  void push(SequenceId sequence, std::span<const TokenId> tokens);
  // Enters at most `count` stored tokens into the tree, oldest first. Returns how many.
  std::size_t enter(SequenceId sequence, std::size_t count);
  // Stores one more token and enters the oldest stored one.
  void append(SequenceId sequence, TokenId token) {
    push(sequence, std::span<const TokenId>(&token, 1));
    enter(sequence, 1);
  }
  // Tokens stored and not entered.
  std::size_t waiting(SequenceId sequence) const {
    return store_.texts[sequence].text->size() - store_.texts[sequence].length;
  }
  // Ends the growth of a sequence. Stored tokens that are not entered are dropped.
  void finish(SequenceId sequence);
  // Removes at most `count` suffixes of a finished sequence. Returns true when none is left; the sequence's number may
  // be reused then. REQUIRES: after the first such call the sequence is named in no other.
  bool remove(SequenceId sequence, std::size_t count);

  // The tokens entered so far.
  std::span<const TokenId> text(SequenceId sequence) const {
    return {store_.texts[sequence].tokens, store_.texts[sequence].length};
  }
  // The text of a finished sequence. It may outlive the sequence.
  std::shared_ptr<const std::vector<TokenId>> shared_text(SequenceId sequence) const {
    return store_.texts[sequence].text;
  }

  // Calls visit(Locus) for each suffix of a growing sequence, shorter than the depth limit, that something has followed
  // before, longest first, until it returns false.
  template <typename Visit>
  void visit_matches(SequenceId sequence, const Visit& visit) const {
    const suffix_tree::Sequence& record = store_.texts[sequence];
    const suffix_tree::Growing& growing = store_.ends.growing(record.growing);
    for (std::uint32_t start = growing.first; start < record.length; ++start) {
      const suffix_tree::End& end = store_.ends.at(growing, start);
      if (end.node == kNoNode) {
        continue;
      }
      const Locus locus{end.node, end.depth};
      if (has_followers(locus) && !visit(locus)) {
        return;
      }
    }
  }

  // The locus of a string, {kRoot, 0} for the empty one; node kNoNode when the string does not occur.
  Locus find(std::span<const TokenId> string) const;
  // How often the string occurs: once for each position, overlapping ones included.
  std::uint32_t count(Locus locus) const {
    const suffix_tree::Node& node = store_.nodes[locus.node];
    return node.count + store_.ends.count_inside(node, locus.depth);
  }
  // How often something followed the string. Approximate when more than `children_max` different tokens did.
  std::uint32_t followed_count(Locus locus, int children_max) const;
  // The locus after `locus` by a token; node kNoNode when the token never followed.
  Locus follow(Locus locus, TokenId token) const {
    const suffix_tree::Node& node = store_.nodes[locus.node];
    if (locus.depth == node.depth) {
      return {store_.nodes.child(locus.node, token), locus.depth + 1};
    }
    return store_.inner_token(node, locus.depth) == token ? Locus{locus.node, locus.depth + 1} : Locus{};
  }
  // Calls visit(token, Locus) for what follows, about the likeliest first, until it returns false.
  template <typename Visit>
  void visit_followers(Locus locus, const Visit& visit) const {
    const suffix_tree::Node& node = store_.nodes[locus.node];
    if (locus.depth != node.depth) {
      const TokenId token = store_.inner_token(node, locus.depth);
      if (token != suffix_tree::kNoToken) {
        visit(token, Locus{locus.node, locus.depth + 1});
      }
      return;
    }
    for (NodeId at = node.first_child; at != kNoNode;) {
      const suffix_tree::Node& follower = store_.nodes[at];
      const NodeId after = follower.next;
      if (!visit(follower.token, Locus{at, locus.depth + 1})) {
        return;
      }
      at = after;
    }
  }
  bool has_followers(Locus locus) const;
  Age age(Locus locus) const {
    const suffix_tree::Node& node = store_.nodes[locus.node];
    const suffix_tree::Sequence& sequence = store_.texts[node.sequence];
    const std::uint32_t end = node.end - node.depth + locus.depth;
    return {store_.texts.births() - sequence.birth, sequence.length > end ? sequence.length - end : 0};
  }

  std::int32_t depth() const { return static_cast<std::int32_t>(store_.depth); }
  std::size_t nodes() const { return store_.nodes.size(); }
  std::size_t tokens() const { return store_.texts.tokens(); }
  // Memory in use: nodes, index, text, state of growing sequences. Leaves out the index's old table while the index
  // grows (at most a fifth more): counted, each growth would evict texts that fit afterwards.
  std::size_t bytes() const { return store_.nodes.bytes() + store_.texts.bytes() + store_.ends.bytes(); }
  // Frees a part of a tree that is not used any more; true while there is more. Frees a large tree without a pause.
  bool dissolve() { return store_.nodes.shrink(); }

  // The first broken invariant of nodes, ends, counts and labels, or "". Slow: for tests.
  std::string integrity_problem() const;

 private:
  suffix_tree::Store store_;
};

// The matches of a text that is not in the tree: the locus of each of its suffixes that occurs there. Advanced token by
// token. Valid until the tree changes. Owner and thread: one, the same.
class DetachedMatch {
 public:
  void clear() { loci_.clear(); }
  void advance(const SuffixTree& tree, TokenId token) {
    std::size_t kept = 0;
    loci_.push_back({SuffixTree::kRoot, 0});
    for (const SuffixTree::Locus locus : loci_) {
      const SuffixTree::Locus next = tree.follow(locus, token);
      if (next.node != SuffixTree::kNoNode && next.depth < static_cast<std::uint32_t>(tree.depth())) {
        loci_[kept++] = next;
      }
    }
    loci_.resize(kept);
  }
  // Longest first.
  std::span<const SuffixTree::Locus> loci() const { return loci_; }

 private:
  std::vector<SuffixTree::Locus> loci_;
};

// What a draft is made from: a sequence's matches in a tree, whether the sequence is entered there or only followed
// along.
struct DraftSource {
  const SuffixTree* tree = nullptr;
  SuffixTree::SequenceId sequence = 0;      // entered in the tree and growing; read only without `detached`
  const DetachedMatch* detached = nullptr;  // not null: the sequence is not in the tree, this is its match

  // As SuffixTree::visit_matches.
  template <typename Visit>
  void visit_matches(const Visit& visit) const {
    if (detached == nullptr) {
      tree->visit_matches(sequence, visit);
      return;
    }
    for (const SuffixTree::Locus locus : detached->loci()) {
      if (tree->has_followers(locus) && !visit(locus)) {
        return;
      }
    }
  }
};

}  // namespace coppice::engine
