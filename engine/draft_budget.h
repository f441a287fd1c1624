// The draft budget: what drafting may cost in time and tokens (DraftPolicy, AskingTurn), what the rows of drafts cost
// (StepCost), and how many draft nodes a step carries, and of which sequences. A node is worth its chance of being
// accepted. Nodes are added likeliest first while the expected tokens per second rise (adaptive verification as vLLM's
// documentation describes it, with measured step costs instead of a table). Plain numbers; nothing here reads a clock.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/speculation/speculator.h"

namespace coppice::engine {

// How much time and how many tokens the Drafter may spend on drafts: every number that drafting is tuned by, except
// those of the suffix trees (SuffixSpeculatorOptions) and of the choice among proposed nodes (below). Numbers are
// chosen by reasoning, not measured, where no page of docs/performance is named.
struct DraftPolicy {
  // Most draft nodes of one sequence in one step. A choice, not a measurement: no GPU has verified drafts yet.
  std::int32_t nodes_max = 32;
  // Verify every node that fits, whatever steps cost. For tests, which time nothing.
  bool takes_all = false;

  // Tokens handed over before a step, which waits for it: about 50 us at 1 us a token
  // (docs/performance/speculation.md). Of all sequences together, or of each where the time of steps is known. What
  // remains is handed over beside the step; a sequence with tokens that the speculator does not know drafts nothing in
  // this step.
  std::int32_t teach_before = 48;
  // Where the time of steps is not known, 1/others_in of teach_before is kept for sequences that do not draft well.
  std::int32_t others_in = 4;
  // Tokens handed over beside every step, added to one for each of its rows: a prompt found in the cache has no rows.
  std::int32_t teach_beside = 48;
  // Tokens' worth of put-off work beside every step: a third of a step's own teaching, so that it never piles up.
  std::int32_t catch_up_beside = 32;
  // Tokens between two looks at whether the device still works: about 50 us.
  std::int32_t teach_slice = 48;
  // Tokens of put-off work between two looks at the commands when there is nothing else to do: about 1 ms.
  std::int32_t catch_up_idle = 1024;

  // Asking may take 1/asking_in of the last step's time. A quarter of that was tried: with few sequences asked in a
  // step, few nodes are found at once, too few to gain kGainMin (docs/performance/speculation.md) …
  std::uint64_t asking_in = 100;
  // … or these nanoseconds if that is more: about ten proposals of 3 us each …
  std::uint64_t asking_ns_min = 30'000;
  // … but no more than 1/asking_short_in of a step that is short.
  std::uint64_t asking_short_in = 10;
  // Sequences that draft well may be asked for as long as their drafts promise to save, up to 1/asking_most_in of the
  // last step: 8 %, which a draft that is accepted in part repays.
  std::uint64_t asking_most_in = 12;
  // Time beyond the allowance is taken from later steps, at most this many allowances: one ask that the operating
  // system interrupts must not silence drafting for hundreds of steps.
  double debt_max = 8;
  // Part of the promised savings that counts: a promise may fail, and a step with drafts is planned anew.
  double promise_share = 0.5;
  // Nodes that a sequence is asked for, however many others draft: shorter drafts do not repay the question.
  std::int32_t nodes_least = 4;

  // Nanoseconds that asking may take in a step like the last one, which took step_ns.
  std::uint64_t asking_ns(std::uint64_t step_ns) const {
    return std::max(step_ns / asking_in, std::min(asking_ns_min, step_ns / asking_short_in));
  }
  // The same with all that promised savings may add.
  std::uint64_t asking_ns_most(std::uint64_t step_ns) const {
    return std::max(asking_ns(step_ns), step_ns / asking_most_in);
  }
  // Nodes to ask one sequence for when `sequences` draft well and the step has room for `room`: twice its share of the
  // room, since many propose fewer.
  std::int32_t nodes_each(std::int32_t room, std::int32_t sequences) const {
    if (takes_all) {
      return nodes_max;
    }
    return std::min(nodes_max, std::max(nodes_least, 2 * room / (sequences + 1)));
  }
};

// Of sequences that are asked for drafts in turn, which one comes next and for how long the asking may go on. The time
// is a credit: each step adds its allowance, each ask takes what it cost, promised savings add to it. Owner: the
// Drafter. Thread: the engine's. Reads no clock.
class AskingTurn {
 public:
  // A step that is expected to take step_ns is about to be asked for.
  void begin_step(const DraftPolicy& policy, std::uint64_t step_ns) {
    const auto given_ns = static_cast<double>(policy.asking_ns(step_ns));
    most_ns_ = static_cast<double>(policy.asking_ns_most(step_ns));
    credit_ns_ = std::clamp(credit_ns_ + given_ns, -policy.debt_max * given_ns, given_ns);
    spent_ns_ = 0;
  }
  bool has_time() const { return credit_ns_ > 0 && spent_ns_ <= most_ns_; }
  // The place in a list of `count` sequences with which to begin.
  std::size_t first(std::size_t count) const { return count == 0 ? 0 : next_ % count; }
  // The sequence at `place` of the list was asked, which took spent_ns and promises to save promised_ns.
  void asked(std::size_t place, double spent_ns, double promised_ns) {
    next_ = place + 1;
    spent_ns_ += spent_ns;
    credit_ns_ += promised_ns - spent_ns;
  }

 private:
  std::size_t next_ = 0;
  double credit_ns_ = 0;
  double spent_ns_ = 0;  // in this step
  double most_ns_ = 0;   // that may be spent in this step
};

// How long a step of n rows takes on this machine with this model, learned from the steps that ran. What drafts are
// worth depends on it: on a device that waits for memory a few more rows cost nothing, on one that computes each row
// costs its share. Attention is counted apart, by keys attended, because it grows with the context. Owner: the Drafter.
// Thread: the engine's. A call takes time in proportion to the number of knots.
class StepCost {
 public:
  // A step of `rows` rows took body_ns without attention, and attention_ns for keys_attended keys (0, 0 where the
  // device reports no such time). Slow steps, when another program had the machine, move the estimate little unless
  // they are the rule.
  void observe(std::int32_t rows, double body_ns, double attention_ns, double keys_attended);

  bool known() const { return knots_known_ > 0; }
  // Whether a step of about `rows` rows, or fewer, was seen. Else what drafts add to one of `rows` is unknown: they
  // would look free.
  bool covers(std::int32_t rows) const {
    const auto end = knots_.begin() + knot_of(rows) + 1;
    return std::any_of(knots_.begin(), end, [](const Knot& knot) { return knot.weight > 0; });
  }
  // Expected nanoseconds of a step of `rows` rows, without attention; never falls as rows grow. REQUIRES: known().
  double body_ns(std::int32_t rows) const;
  // Expected nanoseconds of attention for each key that a row attends to.
  double ns_per_key() const { return keys_seen_ > 0 ? attention_ns_seen_ / keys_seen_ : 0.0; }

  // What was learned, as lines of text; and back. ERRORS: InvalidArgument; nothing is changed then.
  std::string to_string() const;
  absl::Status restore(std::string_view text);

 private:
  // Rows 1 … 16 each have their own knot, then four stand in every doubling.
  static constexpr std::int32_t kFine = 16;
  static constexpr std::int32_t kKnots = kFine + 4 * 12;

  // Steps of a size that count, at most.
  static constexpr std::int32_t kSeen = 15;

  // The last steps of a size. Its cost is their median: other programs make some steps many times as long, and a mean
  // of few of them would say more of those programs than of the rows.
  struct Knot {
    void add(double rows_seen, double ns_seen);

    double rows = 0;    // median of what was seen
    double ns = 0;      // likewise
    double weight = 0;  // steps seen, older ones fading; 0: never seen
    std::int32_t count = 0;
    std::array<double, kSeen> all_rows{};  // the first `count`, oldest first
    std::array<double, kSeen> all_ns{};
  };

  static std::int32_t knot_of(std::int32_t rows);
  void rebuild();

  std::array<Knot, kKnots> knots_;
  // The known knots made monotone: what body_ns() interpolates.
  std::array<double, kKnots> curve_rows_{};
  std::array<double, kKnots> curve_ns_{};
  std::int32_t knots_known_ = 0;
  double attention_ns_seen_ = 0;
  double keys_seen_ = 0;
};

// Tokens that a prompt row is worth: it brings its sequence nearer to its first token, but is none yet. Chosen, not
// measured.
inline constexpr double kPromptRowValue = 0.5;
// Ratio of expected tokens per second with and without drafts from which drafts are taken: a gain too small to be told
// from noise in the step costs is not worth a step planned anew. Chosen, not measured.
inline constexpr double kGainMin = 1.02;

// A step before any drafts.
struct StepOutlook {
  std::int32_t rows = 0;
  double value = 0;              // expected tokens: one a drawing sequence, kPromptRowValue a prompt row
  double keys_attended = 0;      // summed over rows
  std::int32_t nodes_max = 0;    // draft nodes that would fit the step
  double keys_per_node_min = 0;  // context of the shortest drawing sequence
};

// A draft node as the budget sees it.
struct DraftCandidate {
  float survival = 0;
  std::int32_t keys = 0;    // it would attend to
  std::int32_t member = 0;  // its sequence; any numbering, ascending in the list that was sorted
  std::int32_t node = 0;    // index in its tree
};

// The least chance of survival with which a node can pay in this step; above 1 when none can, so that nothing needs to
// be proposed. 0 while the costs are unknown.
float survival_floor(const StepCost& cost, const StepOutlook& step);

// Brings the candidates that may be chosen to the front, likeliest first (a parent before its children); returns how
// many of the first make the expected tokens per second largest: 0 unless that gains kGainMin. All, up to nodes_max,
// while the costs are unknown.
std::int32_t choose_drafts(const StepCost& cost, const StepOutlook& step, std::vector<DraftCandidate>& candidates);

// Drops the nodes not in `keep` (one flag a node). REQUIRES: a kept node's parent is kept.
void prune(DraftTree& tree, std::span<const std::uint8_t> keep, std::vector<std::int32_t>& scratch);

// `tree` is a chain of forced tokens, one below the other. Adds the nodes of `proposal` as far as `nodes_max` goes:
// those beyond the chain's end as likely as the proposal says once the chain is right, those beside it as far as the
// chain's first token leaves room for another. So nothing is added beside a certain chain.
void graft(const DraftTree& proposal, std::int32_t nodes_max, DraftTree& tree, std::vector<std::int32_t>& scratch);

// How likely a forced token is the one that is drawn, learned from those that were verified: the same text may be cut
// into other tokens. 1 until one was wrong. Owner: the Drafter. Thread: the engine's.
class ForcedSurvival {
 public:
  // Of the first `forced` nodes, one below the other, the first `right` were right.
  void observe(std::int32_t forced, std::int32_t right) {
    tried_ += std::min(right + 1, forced);
    right_ += right;
    if (tried_ > kRemembered) {
      tried_ /= 2;
      right_ /= 2;
    }
  }
  // Of a forced token whose parents were right.
  float value() const { return static_cast<float>((right_ + kPrior) / (tried_ + kPrior)); }

 private:
  // Tokens after which what was seen counts half: some answers. And tokens that are believed right before any was
  // seen. Chosen, not measured.
  static constexpr double kRemembered = 2048;
  static constexpr double kPrior = 16;

  double tried_ = 0;
  double right_ = 0;
};

}  // namespace coppice::engine
