// What takes more than one part of a suffix tree's store.
#include "engine/speculation/tree/store.h"

namespace coppice::engine::suffix_tree {

void Store::settle_ends(NodeId from, NodeId to, std::uint32_t at) {
  for (EndId id = nodes[from].inner_ends; id != kNoEnd;) {
    const EndId after = ends[id].next;
    if (ends[id].depth == at) {
      ends.unlink(nodes[from], id);
      ends[id].node = to;
      ++nodes[to].count;
    } else if (ends[id].depth < at && from != to) {
      ends.unlink(nodes[from], id);
      ends.link(nodes[to], to, id);
    }
    id = after;
  }
}

}  // namespace coppice::engine::suffix_tree
