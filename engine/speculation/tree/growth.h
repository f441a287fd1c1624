// Growth: entering a token into a suffix tree. Each active end of the token's sequence is advanced, mostly by comparing
// one token; an end that cannot go on splits its edge and leaves a leaf behind.
#pragma once

#include <cstdint>

#include "engine/speculation/tree/store.h"

namespace coppice::engine::suffix_tree {

// A view of the store: made for one call.
class Growth {
 public:
  explicit Growth(Store& store) : store_(store) {}

  // Enters the oldest stored token of a growing sequence that is not entered yet.
  void enter_token(SequenceId sequence);
  // Ends the growth of a sequence: its active ends become nodes.
  void finish(SequenceId sequence);

 private:
  void prefetch_children(const Growing& growing, std::uint32_t last, TokenId token) const;
  void advance(EndId end, TokenId token);
  // Moves on an end that is at its node.
  void leave_node(EndId end, TokenId token);
  void reach_node(EndId end, NodeId node);
  void add_leaf(NodeId parent, TokenId token, SequenceId sequence, std::uint32_t start);
  // Makes a node where an end is inside an edge, and returns it.
  NodeId end_edge_at(EndId end);
  // Ends a leaf at `depth`, up to which its text is written. The suffix that wrote it is active again if it still
  // grows.
  void cut_leaf(NodeId leaf, std::uint32_t depth);
  // Makes a node at `depth` inside the edge above `lower`. Its text ends at `text_end` of `sequence`.
  NodeId split(NodeId lower, std::uint32_t depth, SequenceId sequence, std::uint32_t text_end);

  Store& store_;
};

}  // namespace coppice::engine::suffix_tree
