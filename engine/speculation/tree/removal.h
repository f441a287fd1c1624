// Removal: taking a finished sequence out of a suffix tree, a suffix at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/speculation/tree/store.h"

namespace coppice::engine::suffix_tree {

// A view of the store: made for one call.
class Removal {
 public:
  explicit Removal(Store& store) : store_(store) {}

  // Takes out at most `count` suffixes; true when none is left.
  bool remove(SequenceId sequence, std::size_t count);

 private:
  void remove_suffix(SequenceId sequence, std::uint32_t start);
  // Removes a node that no suffix reaches any more. Active ends inside its edge keep the edge: it ends at the deepest
  // of them, which writes on as the leaf's only suffix if it is alone there; the others follow.
  void remove_or_shorten(NodeId node);
  // Removes a node at which no suffix ends and no edges part.
  void merge_if_idle(NodeId node);
  void destroy(NodeId node);

  Store& store_;
};

}  // namespace coppice::engine::suffix_tree
