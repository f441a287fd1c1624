// Checking a suffix tree: nodes from the root down, then the sequences.
#include "engine/speculation/tree/check.h"

#include <vector>

#include "fmt/format.h"

namespace coppice::engine::suffix_tree {
namespace {

class Check {
 public:
  explicit Check(const Store& store) : store_(store), labels_(store.texts.size(), 0) {}

  std::string run() {
    std::vector<NodeId> stack{kRoot};
    while (!stack.empty()) {
      const NodeId number = stack.back();
      stack.pop_back();
      ++nodes_seen_;
      if (std::string problem = node_problem(number); !problem.empty()) {
        return fmt::format("node {}: {}", number, problem);
      }
      for (NodeId at = store_.nodes[number].first_child; at != kNoNode; at = store_.nodes[at].next) {
        stack.push_back(at);
      }
    }
    if (nodes_seen_ != store_.nodes.size() || store_.nodes.indexed() + 1 != nodes_seen_) {
      return fmt::format("{} nodes reached, {} counted, {} in the index", nodes_seen_, store_.nodes.size(),
                         store_.nodes.indexed());
    }
    return sequence_problem();
  }

 private:
  std::string node_problem(NodeId number) {
    const Node& node = store_.nodes[number];
    if (number != kRoot) {
      ++labels_[node.sequence];
      if (std::string problem = edge_problem(number); !problem.empty()) {
        return problem;
      }
    }
    std::uint32_t below = 0;
    NodeId previous = kNoNode;
    for (NodeId at = node.first_child; at != kNoNode; at = store_.nodes[at].next) {
      const Node& child = store_.nodes[at];
      if (child.parent != number || child.previous != previous) {
        return "a child is not linked to it";
      }
      below += child.count + store_.ends.count_inside(child, 0);
      previous = at;
    }
    if (node.count < below || (number != kRoot && node.count == 0)) {
      return fmt::format("count {} with {} below", +node.count, below);
    }
    return inner_end_problem(number);
  }

  std::string edge_problem(NodeId number) const {
    const Node& node = store_.nodes[number];
    const Node& parent = store_.nodes[node.parent];
    if (node.depth <= parent.depth || node.depth > store_.depth) {
      return "depth not beyond its parent's, or beyond the limit";
    }
    if (store_.nodes.child(node.parent, node.token) != number) {
      return "the index does not lead to it";
    }
    for (std::uint32_t depth = 0; depth < parent.depth; ++depth) {
      if (store_.inner_token(node, depth) != store_.inner_token(parent, depth)) {
        return "its string does not start with its parent's";
      }
    }
    return store_.inner_token(node, parent.depth) == node.token ? "" : "its token is not its edge's first";
  }

  std::string inner_end_problem(NodeId number) {
    const Node& node = store_.nodes[number];
    EndId previous = kNoEnd;
    for (EndId id = node.inner_ends; id != kNoEnd; id = store_.ends[id].next) {
      const End& end = store_.ends[id];
      const Sequence& sequence = store_.texts[store_.ends.sequence(id)];
      ++inner_ends_seen_;
      if (end.node != number || end.previous != previous) {
        return "an end inside its edge is not linked to it";
      }
      if (end.depth <= store_.nodes[node.parent].depth || end.depth >= node.depth ||
          end.start + 0U + end.depth != sequence.length) {
        return "a listed end is not inside its edge, or not at its sequence's end";
      }
      for (std::uint32_t depth = 0; depth < end.depth; ++depth) {
        if (sequence.tokens[end.start + depth] != store_.inner_token(node, depth)) {
          return "the text of an end inside its edge is not the edge's";
        }
      }
      previous = id;
    }
    return "";
  }

  std::string sequence_problem() const {
    std::size_t inner_ends = 0;
    for (SequenceId i = 0; i < store_.texts.size(); ++i) {
      const Sequence& sequence = store_.texts[i];
      if (sequence.labels != labels_[i]) {
        return fmt::format("sequence {}: {} labels counted, {} found", i, sequence.labels, labels_[i]);
      }
      if (sequence.growing == kNotGrowing) {
        continue;
      }
      const Growing& growing = store_.ends.growing(sequence.growing);
      for (std::uint32_t start = growing.first; start < sequence.length; ++start) {
        const End& end = store_.ends.at(growing, start);
        if (end.node == kNoNode) {
          continue;
        }
        if (end.start != start || start + end.depth != sequence.length) {
          return fmt::format("sequence {}: suffix {} is not at the end", i, start);
        }
        inner_ends += end.depth != store_.nodes[end.node].depth ? 1 : 0;
      }
    }
    return inner_ends == inner_ends_seen_ ? "" : "an end inside an edge is not in the edge's list";
  }

  const Store& store_;
  std::vector<std::uint32_t> labels_;  // found so far, by sequence
  std::size_t inner_ends_seen_ = 0;
  std::size_t nodes_seen_ = 0;
};

}  // namespace

std::string integrity_problem(const Store& store) {
  return Check(store).run();
}

}  // namespace coppice::engine::suffix_tree
