// Learning the cost of steps, as a median of the last ones for each number of rows, made monotone by pooling
// neighbours; choosing drafts by expected tokens per second.
#include "engine/draft_budget.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "base/check.h"
#include "fmt/format.h"

namespace coppice::engine {
namespace {

// The numbers of learning are chosen, not measured; draft_budget_test holds what they are to achieve.
//
// Factor on the weight of all knots at each step: a measurement is half forgotten after 700 steps.
constexpr double kFade = 0.999;
// A step that took this many times its estimate, or the inverse, counts as exactly that far off.
constexpr double kOutlier = 2;
// Rows that are assumed to double a step's cost where nothing was seen.
constexpr double kDoubling = 8;
// Weight of that assumption, in observations.
constexpr double kGuess = 1;
// Factor on the sums of attention at each step: about the last 50 steps count.
constexpr double kAttentionFade = 0.98;
constexpr std::string_view kHeader = "step-cost 1";
// Weights in what was learned: earlier versions wrote up to this.
constexpr double kWeightMax = 20;

// REQUIRES: at least one.
double median(std::span<const double> values) {
  std::array<double, 32> sorted{};  // more than any knot has
  const std::size_t middle = values.size() / 2;
  std::copy(values.begin(), values.end(), sorted.begin());
  std::nth_element(sorted.begin(), sorted.begin() + middle, sorted.begin() + values.size());
  return sorted[middle];
}

double step_ns(const StepCost& cost, const StepOutlook& step, std::int32_t nodes, double node_keys) {
  return cost.body_ns(step.rows + nodes) + cost.ns_per_key() * (step.keys_attended + node_keys);
}

}  // namespace

std::int32_t StepCost::knot_of(std::int32_t rows) {
  if (rows <= kFine) {
    return std::max(rows, 1) - 1;
  }
  const double octaves = std::log2(static_cast<double>(rows) / kFine);
  return std::min(kKnots - 1, kFine + static_cast<std::int32_t>(octaves * 4));
}

void StepCost::Knot::add(double rows_seen, double ns_seen) {
  // What has faded to less than half a step no longer counts.
  const std::int32_t kept = std::min({count, kSeen - 1, static_cast<std::int32_t>(std::lround(weight))});
  std::copy(all_rows.begin() + (count - kept), all_rows.begin() + count, all_rows.begin());
  std::copy(all_ns.begin() + (count - kept), all_ns.begin() + count, all_ns.begin());
  all_rows[static_cast<std::size_t>(kept)] = rows_seen;
  all_ns[static_cast<std::size_t>(kept)] = ns_seen;
  count = kept + 1;
  weight = std::min(weight + 1, static_cast<double>(kSeen));
  rows = median(std::span(all_rows).first(static_cast<std::size_t>(count)));
  ns = median(std::span(all_ns).first(static_cast<std::size_t>(count)));
}

void StepCost::observe(std::int32_t rows, double body_ns, double attention_ns, double keys_attended) {
  if (rows <= 0 || !(body_ns > 0) || !std::isfinite(body_ns)) {
    return;
  }
  if (keys_attended > 0 && attention_ns > 0) {
    attention_ns_seen_ = attention_ns_seen_ * kAttentionFade + attention_ns;
    keys_seen_ = keys_seen_ * kAttentionFade + keys_attended;
  }
  Knot& knot = knots_[static_cast<std::size_t>(knot_of(rows))];
  if (known()) {
    const double expected = this->body_ns(rows);
    // The first look at a knot may be anything below: the curve beyond what was seen is a guess.
    body_ns = std::min(body_ns, expected * kOutlier);
    if (knot.weight >= 1) {
      body_ns = std::max(body_ns, expected / kOutlier);
    }
  }
  for (Knot& other : knots_) {
    other.weight *= kFade;
  }
  knot.add(rows, body_ns);
  rebuild();
}

// Pool adjacent violators: the monotone curve nearest to the knots, each weighing what it was seen.
void StepCost::rebuild() {
  std::array<double, kKnots> weights{};
  std::array<std::int32_t, kKnots> members{};
  std::array<double, kKnots> values{};
  std::array<double, kKnots> rows{};
  std::int32_t seen = 0;
  for (const Knot& knot : knots_) {
    if (knot.weight > 0) {
      rows[static_cast<std::size_t>(seen)] = knot.rows;
      values[static_cast<std::size_t>(seen)] = knot.ns;
      weights[static_cast<std::size_t>(seen)] = knot.weight;
      ++seen;
    }
  }
  // A knot that a few slow steps set high would never be tried again. So a step of more rows never costs more than the
  // steps of fewer rows that it replaces, and knots seen seldom or long ago give way to the guess.
  for (std::size_t i = 1; i < static_cast<std::size_t>(seen); ++i) {
    const double all_apart = values[i - 1] * rows[i] / rows[i - 1];
    const double guess = values[i - 1] * (1 + (rows[i] - rows[i - 1]) / std::max(kDoubling, rows[i - 1]));
    values[i] = std::min(values[i], all_apart);
    values[i] = (values[i] * weights[i] + std::min(values[i], guess) * kGuess) / (weights[i] + kGuess);
  }
  std::int32_t blocks = 0;
  for (std::int32_t i = 0; i < seen; ++i) {
    auto at = static_cast<std::size_t>(blocks++);
    curve_ns_[at] = values[static_cast<std::size_t>(i)];
    weights[at] = weights[static_cast<std::size_t>(i)];
    members[at] = 1;
    while (at > 0 && curve_ns_[at - 1] > curve_ns_[at]) {
      const double weight = weights[at - 1] + weights[at];
      curve_ns_[at - 1] = (curve_ns_[at - 1] * weights[at - 1] + curve_ns_[at] * weights[at]) / weight;
      weights[at - 1] = weight;
      members[at - 1] += members[at];
      --blocks;
      --at;
    }
  }
  std::array<double, kKnots> levels = curve_ns_;
  std::size_t knot = 0;
  for (std::int32_t block = 0; block < blocks; ++block) {
    for (std::int32_t i = 0; i < members[static_cast<std::size_t>(block)]; ++i, ++knot) {
      curve_rows_[knot] = rows[knot];
      curve_ns_[knot] = levels[static_cast<std::size_t>(block)];
    }
  }
  knots_known_ = seen;
}

double StepCost::body_ns(std::int32_t rows) const {
  COPPICE_CHECK(known(), "a cost is asked for only once a step was seen");
  const auto begin = curve_rows_.begin();
  const auto end = begin + knots_known_;
  const auto after = std::lower_bound(begin, end, static_cast<double>(rows));
  if (after == begin) {
    return curve_ns_[0];
  }
  const auto last = static_cast<std::size_t>(after - begin) - 1;
  if (after == end) {
    return curve_ns_[last] * (1 + (rows - curve_rows_[last]) / std::max(kDoubling, curve_rows_[last]));
  }
  const double at = (rows - curve_rows_[last]) / (curve_rows_[last + 1] - curve_rows_[last]);
  return curve_ns_[last] + at * (curve_ns_[last + 1] - curve_ns_[last]);
}

std::string StepCost::to_string() const {
  std::string out = fmt::format("{}\nattention {:.6g} {:.6g}\n", kHeader, attention_ns_seen_, keys_seen_);
  for (const Knot& knot : knots_) {
    if (knot.weight > 0) {
      out += fmt::format("rows {:.6g} {:.6g} {:.6g}\n", knot.rows, knot.ns, knot.weight);
    }
  }
  return out;
}

absl::Status StepCost::restore(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string line;
  StepCost fresh;
  if (!std::getline(in, line) || line != kHeader) {
    return absl::InvalidArgumentError("not a record of step costs of this version");
  }
  while (std::getline(in, line)) {
    double a = 0;
    double b = 0;
    double c = 0;
    if (std::sscanf(line.c_str(), "attention %lf %lf", &a, &b) == 2 && a >= 0 && b >= 0) {
      fresh.attention_ns_seen_ = a;
      fresh.keys_seen_ = b;
    } else if (std::sscanf(line.c_str(), "rows %lf %lf %lf", &a, &b, &c) == 3 && a >= 1 && a < 1e9 && b > 0 && c > 0 &&
               std::isfinite(b) && c <= kWeightMax) {
      Knot& knot = fresh.knots_[static_cast<std::size_t>(knot_of(static_cast<std::int32_t>(a)))];
      knot = {.rows = a, .ns = b, .weight = std::min(c, static_cast<double>(kSeen))};
      knot.count = std::max(1, static_cast<std::int32_t>(std::lround(knot.weight)));
      knot.all_rows.fill(a);
      knot.all_ns.fill(b);
    } else {
      return absl::InvalidArgumentError("a line of the step costs cannot be read: " + line);
    }
  }
  fresh.rebuild();
  *this = fresh;
  return absl::OkStatus();
}

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

void graft(const DraftTree& proposal, std::int32_t nodes_max, DraftTree& tree, std::vector<std::int32_t>& scratch) {
  constexpr std::int32_t kDropped = -2;  // no node: -1 is the root
  const std::int32_t chain_end = tree.size() - 1;
  const float astray = chain_end < 0 ? 1.0F : 1.0F - tree.survival[0];
  const auto survival_of = [](const DraftTree& of, std::int32_t node) {
    return node < 0 ? 1.0F : of.survival[static_cast<std::size_t>(node)];
  };
  scratch.assign(proposal.tokens.size(), kDropped);  // node of `tree`
  for (std::size_t node = 0; node < proposal.tokens.size(); ++node) {
    const std::int32_t above = proposal.parents[node];
    const std::int32_t parent = above < 0 ? -1 : scratch[static_cast<std::size_t>(above)];
    const bool is_beside = parent != kDropped && parent < chain_end;
    if (is_beside && proposal.tokens[node] == tree.tokens[static_cast<std::size_t>(parent + 1)]) {
      scratch[node] = parent + 1;
    } else if (parent != kDropped && tree.size() < nodes_max) {
      const float next = std::min(1.0F, proposal.survival[node] / survival_of(proposal, above));
      const float survival = survival_of(tree, parent) * next * (is_beside ? astray : 1.0F);
      if (survival > 0) {
        scratch[node] = tree.size();
        tree.add(proposal.tokens[node], parent, survival);
      }
    }
  }
}

}  // namespace coppice::engine
