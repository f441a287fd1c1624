// What of the engine a view has, and in which order.
#include "engine/view.h"

#include <algorithm>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "engine/radix_tree.h"

namespace coppice::engine {
namespace {

// Most nodes and sequences of a view: more than a screen shows.
constexpr std::size_t kNodesMax = 256;
constexpr std::size_t kSequencesMax = 256;

// Chooses nodes and gives tenants and nodes their numbers.
class ViewWriter {
 public:
  explicit ViewWriter(const RadixTree& tree) : tree_(tree), nodes_(tree.nodes()) {}

  void add_nodes() {
    std::vector<RadixNodeId> chosen;
    for (RadixNodeId node = 0; node < nodes_.count(); ++node) {
      if (nodes_[node].live) {
        chosen.push_back(node);
      }
    }
    view_.nodes_total = static_cast<std::int32_t>(chosen.size());
    if (chosen.size() > kNodesMax) {
      const auto first = [this](RadixNodeId a, RadixNodeId b) { return rank(a) > rank(b); };
      std::nth_element(chosen.begin(), chosen.begin() + kNodesMax, chosen.end(), first);
      chosen.resize(kNodesMax);
    }
    for (const RadixNodeId node : chosen) {
      add_node(node);
    }
  }

  void add_sequence(const Sequence& sequence, const RequestState& request) {
    ViewSequence& seen = view_.sequences.emplace_back();
    seen.request = request.request.id;
    seen.choice = sequence.choice;
    seen.tenant = tenant(request.request.tenant);
    const auto node = numbers_.find(sequence.hold.node());
    seen.node = node == numbers_.end() ? kNoViewNode : node->second;
    seen.is_running = sequence.line.is_running();
    seen.prompt_tokens = sequence.tokens.prompt_count();
    seen.output_tokens = sequence.known_count() - sequence.tokens.prompt_count();
    seen.computed_tokens = std::min(sequence.computed(), sequence.known_count());
    seen.cached_tokens = sequence.admission.found_tokens();
    seen.accepted_drafts = sequence.usage.accepted_tokens;
    seen.rejected_drafts = sequence.usage.drafted_tokens - sequence.usage.accepted_tokens;
  }

  EngineView& view() { return view_; }

 private:
  // Greater is shown first. A node above another has at least its locks and its last use.
  std::tuple<bool, std::uint64_t> rank(RadixNodeId node) const {
    return {nodes_[node].lock_count > 0, nodes_[node].last_use};
  }

  std::int32_t tenant(std::string_view name) {
    const auto [entry, is_new] = tenants_.try_emplace(name, static_cast<std::int32_t>(view_.tenants.size()));
    if (is_new) {
      view_.tenants.emplace_back(name);
    }
    return entry->second;
  }

  // With all nodes above it that the view does not have yet, from the top.
  void add_node(RadixNodeId node) {
    std::vector<RadixNodeId> path;
    for (; node != kNoRadixNode && !numbers_.contains(node); node = nodes_[node].parent) {
      path.push_back(node);
    }
    for (auto at = path.rbegin(); at != path.rend(); ++at) {
      const RadixNode& shown = nodes_[*at];
      numbers_.emplace(*at, static_cast<std::int32_t>(view_.nodes.size()));
      ViewNode seen;
      seen.parent = shown.is_root() ? kNoViewNode : numbers_.at(shown.parent);
      seen.tenant =
          shown.is_root() ? tenant(tree_.tenant_of(*at)) : view_.nodes[static_cast<std::size_t>(seen.parent)].tenant;
      seen.pages = shown.page_count;
      seen.locks = shown.lock_count;
      seen.hits = shown.hits;
      seen.last_use = shown.last_use;
      view_.nodes.push_back(seen);
    }
  }

  const RadixTree& tree_;
  const RadixNodes& nodes_;
  absl::flat_hash_map<std::string_view, std::int32_t> tenants_;  // views of the engine's own names
  absl::flat_hash_map<RadixNodeId, std::int32_t> numbers_;       // in view_.nodes
  EngineView view_;
};

}  // namespace

EngineView make_view(const RadixTree& tree, const SequenceTable& sequences, const RequestTable& requests) {
  ViewWriter writer(tree);
  writer.add_nodes();
  std::vector<SequenceSlot> shown;
  for (SequenceSlot slot = 0; slot < sequences.slots(); ++slot) {
    if (sequences.is_live(slot) && sequences[slot].token_count() > 0) {
      shown.push_back(slot);
    }
  }
  writer.view().sequences_total = static_cast<std::int32_t>(shown.size());
  std::sort(shown.begin(), shown.end(), [&](SequenceSlot a, SequenceSlot b) {
    const LineState& left = sequences[a].line;
    const LineState& right = sequences[b].line;
    return left.is_running() != right.is_running() ? left.is_running() : left.rank() < right.rank();
  });
  shown.resize(std::min(shown.size(), kSequencesMax));
  for (const SequenceSlot slot : shown) {
    writer.add_sequence(sequences[slot], requests[sequences[slot].request]);
  }
  return std::move(writer.view());
}

}  // namespace coppice::engine
