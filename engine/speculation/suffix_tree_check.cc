// The invariants of a suffix tree, checked one by one. For tests.
#include <algorithm>
#include <string>
#include <vector>

#include "engine/speculation/suffix_tree.h"
#include "fmt/format.h"

namespace coppice::engine {

struct SuffixTreeCheck {
  using NodeId = SuffixTree::NodeId;
  using Node = SuffixTree::Node;

  const SuffixTree& tree;
  std::vector<std::uint32_t> labels = std::vector<std::uint32_t>(tree.sequences_.size(), 0);
  std::size_t riders_seen = 0;
  std::size_t nodes_seen = 0;

  std::string run() {
    std::vector<NodeId> stack{SuffixTree::kRoot};
    while (!stack.empty()) {
      const NodeId number = stack.back();
      stack.pop_back();
      ++nodes_seen;
      if (std::string problem = node_problem(number); !problem.empty()) {
        return fmt::format("node {}: {}", number, problem);
      }
      for (NodeId at = tree.nodes_[number].first_child; at != SuffixTree::kNoNode; at = tree.nodes_[at].next) {
        stack.push_back(at);
      }
    }
    if (nodes_seen != tree.nodes() || tree.index_.size() + 1 != nodes_seen) {
      return fmt::format("{} nodes reached, {} counted, {} in the index", nodes_seen, tree.nodes(), tree.index_.size());
    }
    return sequence_problem();
  }

  std::string node_problem(NodeId number) {
    const Node& node = tree.nodes_[number];
    if (number != SuffixTree::kRoot) {
      const Node& parent = tree.nodes_[node.parent];
      ++labels[node.sequence];
      if (node.depth <= parent.depth || node.depth > tree.depth_) {
        return "depth not beyond its parent's, or beyond the limit";
      }
      if (tree.child(node.parent, node.token) != number) {
        return "the index does not lead to it";
      }
      for (std::uint32_t depth = 0; depth < parent.depth; ++depth) {
        if (tree.inner_token(node, depth) != tree.inner_token(parent, depth)) {
          return "its string does not start with its parent's";
        }
      }
      if (tree.inner_token(node, parent.depth) != node.token) {
        return "its token is not its edge's first";
      }
    }
    std::uint32_t below = 0;
    NodeId previous = SuffixTree::kNoNode;
    for (NodeId at = node.first_child; at != SuffixTree::kNoNode; at = tree.nodes_[at].next) {
      const Node& child = tree.nodes_[at];
      if (child.parent != number || child.previous != previous) {
        return "a child is not linked to it";
      }
      below += child.count + tree.riders_at(child, 0);
      previous = at;
    }
    if (node.count < below || (number != SuffixTree::kRoot && node.count == 0)) {
      return fmt::format("count {} with {} below", +node.count, below);
    }
    return rider_problem(number);
  }

  std::string rider_problem(NodeId number) {
    const Node& node = tree.nodes_[number];
    std::uint32_t previous = SuffixTree::kNoRider;
    for (std::uint32_t rider = node.riders; rider != SuffixTree::kNoRider; rider = tree.active_of(rider).next) {
      const SuffixTree::Active& active = tree.active_of(rider);
      const SuffixTree::Sequence& sequence = tree.sequences_[tree.sequence_of(rider)];
      ++riders_seen;
      if (active.node != number || active.previous != previous) {
        return "a rider is not linked to it";
      }
      if (active.depth <= tree.nodes_[node.parent].depth || active.depth >= node.depth ||
          active.start + 0U + active.depth != sequence.length) {
        return "a rider is not inside its edge, or not at its sequence's end";
      }
      for (std::uint32_t depth = 0; depth < active.depth; ++depth) {
        if (sequence.tokens[active.start + depth] != tree.inner_token(node, depth)) {
          return "a rider's text is not the edge's";
        }
      }
      previous = rider;
    }
    return "";
  }

  std::string sequence_problem() const {
    std::size_t riders_listed = 0;
    for (std::uint32_t i = 0; i < tree.sequences_.size(); ++i) {
      const SuffixTree::Sequence& sequence = tree.sequences_[i];
      if (sequence.labels != labels[i]) {
        return fmt::format("sequence {}: {} labels counted, {} found", i, sequence.labels, labels[i]);
      }
      if (sequence.live == SuffixTree::kNotLive) {
        continue;
      }
      const SuffixTree::Live& live = *tree.lives_[sequence.live];
      for (std::uint32_t start = live.first; start < sequence.length; ++start) {
        const SuffixTree::Active& active = live.ring[start & tree.ring_mask_];
        if (active.node != SuffixTree::kNoNode) {
          if (active.start != start || start + active.depth != sequence.length) {
            return fmt::format("sequence {}: suffix {} is not at the end", i, start);
          }
          riders_listed += active.depth != tree.nodes_[active.node].depth ? 1 : 0;
        }
      }
    }
    return riders_listed == riders_seen ? "" : "a rider is listed at no edge";
  }
};

std::string SuffixTree::integrity_problem() const {
  return SuffixTreeCheck{*this}.run();
}

}  // namespace coppice::engine
