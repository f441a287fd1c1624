// Choosing guesses by expected tokens per second; see the header.
#include "engine/draft_budget.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::engine {
namespace {

double step_ns(const StepCost& cost, const StepOutlook& step, std::int32_t nodes, double node_keys) {
  return cost.body_ns(step.rows + nodes) + cost.ns_per_key() * (step.keys_attended + node_keys);
}

}  // namespace

float survival_floor(const StepCost& cost, const StepOutlook& step) {
  if (!cost.known()) {
    return 0;
  }
  const double now_ns = step_ns(cost, step, 0, 0);
  // The cheapest price of a guess, over all numbers of them: costs rise in stairs.
  double price = -1;
  for (std::int32_t nodes = 1; nodes <= step.nodes_max; nodes += std::max(1, nodes / 4)) {
    const double each = (step_ns(cost, step, nodes, nodes * step.keys_per_node_min) - now_ns) / nodes;
    price = price < 0 ? each : std::min(price, each);
  }
  return price < 0 ? 2.0F : static_cast<float>(price * step.value / now_ns);
}

std::int32_t choose_drafts(const StepCost& cost, const StepOutlook& step, std::vector<DraftCandidate>& candidates) {
  const auto limit = static_cast<std::int32_t>(
      std::min<std::size_t>(candidates.size(), static_cast<std::size_t>(std::max(0, step.nodes_max))));
  std::partial_sort(candidates.begin(), candidates.begin() + limit, candidates.end(),
                    [](const DraftCandidate& a, const DraftCandidate& b) {
                      if (a.survival != b.survival) {
                        return a.survival > b.survival;
                      }
                      return a.member != b.member ? a.member < b.member : a.node < b.node;
                    });
  if (!cost.known()) {
    return limit;
  }
  double best_rate = kGainMin * step.value / step_ns(cost, step, 0, 0);
  std::int32_t best = 0;
  double value = step.value;
  double keys = 0;
  for (std::int32_t count = 1; count <= limit; ++count) {
    const DraftCandidate& candidate = candidates[static_cast<std::size_t>(count) - 1];
    value += candidate.survival;
    keys += candidate.keys;
    const double rate = value / step_ns(cost, step, count, keys);
    if (rate > best_rate) {
      best_rate = rate;
      best = count;
    }
  }
  return best;
}

void prune(DraftTree& tree, std::span<const std::uint8_t> keep, std::vector<std::int32_t>& scratch) {
  COPPICE_CHECK(keep.size() == tree.tokens.size(), "one flag a node");
  scratch.assign(keep.size(), -1);  // new index of a node
  std::int32_t kept = 0;
  for (std::size_t node = 0; node < keep.size(); ++node) {
    if (keep[node] == 0) {
      continue;
    }
    const std::int32_t parent = tree.parents[node];
    const std::int32_t parent_now = parent < 0 ? -1 : scratch[static_cast<std::size_t>(parent)];
    COPPICE_CHECK(parent < 0 || parent_now >= 0, "a kept node's parent is kept");
    const auto at = static_cast<std::size_t>(kept);
    tree.tokens[at] = tree.tokens[node];
    tree.parents[at] = parent_now;
    tree.survival[at] = tree.survival[node];
    scratch[node] = kept++;
  }
  tree.truncate(kept);
}

}  // namespace coppice::engine
