// EngineCore's guesses: handing tokens to the speculator, asking it for drafts, choosing which of them a step carries.
#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "engine/engine_core.h"

namespace coppice::engine {
namespace {

using SteadyTime = std::chrono::steady_clock;

// Tokens handed to the speculator before a step, which waits for it: about 50 us. What is left is handed over while the
// device works; a sequence whose tokens are not all known to the speculator drafts nothing in this step. Of all
// sequences together, or of each where it is known how long steps take.
constexpr std::int32_t kTeachBefore = 48;
// Where that is known, asking for guesses may take one part in so many of it, but so long in any case; sequences that
// draft well may besides be asked for as long as their guesses promise to save, within reason. What one step takes too
// long the next ones do without.
constexpr std::uint64_t kGuessingIn = 100;
constexpr std::uint64_t kGuessingNs = 30'000;
constexpr std::uint64_t kGuessingMostIn = 12;
constexpr std::uint64_t kGuessingShortIn = 10;  // and of steps so short that this is less, so much
constexpr double kDebtMost = 8;
constexpr double kPromiseCounts = 0.5;   // some of it is not kept, and a step with drafts is planned anew
constexpr std::int32_t kDraftLeast = 4;  // nodes that a sequence is asked for, however many others draft
// Tokens handed over beside a step, besides one for each of its rows (a prompt found in the cache costs no rows), and
// tokens' worth of put-off work.
constexpr std::int32_t kTeachBeside = 48;
constexpr std::int32_t kCatchUpBeside = 32;
// Between two looks at whether the device still works: about 50 us.
constexpr std::int32_t kTeachSlice = 48;

}  // namespace

std::int32_t EngineCore::untaught(const Sequence& sequence) const {
  const Request& request = requests_[sequence.request].request;
  return static_cast<std::int32_t>(request.prediction.size()) + sequence.known_count() - sequence.drafting.taught;
}

// Hands over at most `tokens_max` of the sequence's next tokens; returns how many. With `ending`, all that others may
// learn from: its output.
std::int32_t EngineCore::teach(Sequence& sequence, std::int32_t tokens_max) {
  const std::vector<TokenId>& prediction = requests_[sequence.request].request.prediction;
  const auto predicted = static_cast<std::int32_t>(prediction.size());
  const auto hand_over = [&](TokenSource source, std::span<const TokenId> all, std::int32_t begin, std::int32_t end) {
    const std::int32_t count = std::min(end - begin, tokens_max);
    if (count > 0) {
      speculator_->observe(sequence.slot, source,
                           all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)));
      sequence.drafting.taught += count;
      tokens_max -= count;
    }
    return std::max(count, 0);
  };
  std::int32_t done = hand_over(TokenSource::kPrediction, prediction, sequence.drafting.taught, predicted);
  done += hand_over(TokenSource::kPrompt, sequence.tokens.ids, sequence.drafting.taught - predicted,
                    sequence.tokens.prompt_count);
  done += hand_over(TokenSource::kOutput, sequence.tokens.ids, sequence.drafting.taught - predicted,
                    sequence.known_count());
  return done;
}

// Sequences with few new tokens first: they are the ones that will draft. Returns how many tokens were handed over.
std::int32_t EngineCore::teach_running(std::int32_t tokens_max) {
  std::int32_t left = tokens_max;
  for (const bool short_ones : {true, false}) {
    for (const SharingOrder::Entry& entry : scheduler_.order()) {
      if (left <= 0) {
        return tokens_max;
      }
      Sequence& sequence = sequences_[entry.slot];
      const std::int32_t count = untaught(sequence);
      if (count > 0 && (count <= kTeachBefore) == short_ones) {
        left -= teach(sequence, left);
      }
    }
  }
  return tokens_max - left;
}

// Beside every step: sequences' tokens and work that was put off, so much in any case.
bool EngineCore::teach_beside() {
  const std::int32_t tokens_max = kTeachBeside + flying_.token_count();
  const bool taught_all = teach_running(tokens_max) < tokens_max;
  return speculator_->catch_up(kCatchUpBeside) || !taught_all;
}

// Once more, while there is time. False: there is nothing left to learn.
bool EngineCore::teach_slice() {
  const std::int32_t taught = teach_running(kTeachSlice);
  const bool is_behind = taught == kTeachSlice || speculator_->catch_up(kTeachSlice - taught);
  return taught > 0 || is_behind;
}

// The speculator forgets the sequence but for what others may learn from it. Of an output that it is far behind with it
// gets the rest to learn beside a later step, where there is such a time: a device shall not wait for that.
void EngineCore::end_drafts(Sequence& sequence) {
  const auto predicted = static_cast<std::int32_t>(requests_[sequence.request].request.prediction.size());
  sequence.drafting.taught = std::max(sequence.drafting.taught, predicted + sequence.tokens.prompt_count);
  const std::int32_t rest = untaught(sequence);
  if (rest <= kTeachBefore || !executor_->is_asynchronous()) {
    teach(sequence, rest);
    speculator_->end(sequence.slot, {});
  } else {
    speculator_->end(sequence.slot, std::span<const TokenId>(sequence.tokens.ids).last(static_cast<std::size_t>(rest)));
  }
}

StepOutlook EngineCore::outlook() {
  StepOutlook step;
  step.nodes_max = scheduler_.drafts_max();
  for (const SharingOrder::Entry& entry : scheduler_.order()) {
    const Sequence& sequence = sequences_[entry.slot];
    if (!sequence.in_step()) {
      continue;
    }
    const double count = sequence.chosen.planned_count();
    step.rows += sequence.chosen.planned_count();
    step.keys_attended += count * (sequence.computed() + (count + 1) / 2);
    step.value += (count - 1) * kPromptRowValue;
    step.value += sequence.draws() ? 1 : kPromptRowValue;
    if (sequence.draws()) {
      const double keys = sequence.token_count();
      step.keys_per_node_min = step.keys_per_node_min == 0 ? keys : std::min(step.keys_per_node_min, keys);
    }
  }
  return step;
}

// Whether any draft was taken.
bool EngineCore::propose_drafts() {
  stats_.draft_budget = 0;
  if (!speculator_) {
    return false;
  }
  const auto begin = SteadyTime::now();
  const StepOutlook step = outlook();
  const float floor = step.value > 0 ? survival_floor(step_cost_, step) : 2.0F;
  if (floor < 1) {
    drafting_.clear();
    candidates_.clear();
    ask_for_drafts(floor, step.value);
    take_drafts(choose_drafts(step_cost_, step, candidates_));
  }
  stats_.speculation_ns += static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(SteadyTime::now() - begin).count());
  return stats_.draft_budget > 0;
}

// Asks for as many sequences as there is time for: those that draft well as long as what they promise is worth it, then
// the others, both in turn. value: of the step without drafts, in tokens.
void EngineCore::ask_for_drafts(float survival_min, double value) {
  const std::span<const SharingOrder::Entry> order = scheduler_.order();
  const auto count = static_cast<std::size_t>(std::ranges::count_if(
      order, [this](const SharingOrder::Entry& entry) { return sequences_[entry.slot].drafts_well(); }));
  // Longer guesses than there are rows for cost time for nothing.
  const auto each = static_cast<std::int32_t>(2 * static_cast<std::size_t>(scheduler_.drafts_max()) / (count + 1));
  const Asking asking{.survival_min = survival_min,
                      .draft_max = draft_all_ ? draft_max_ : std::min(draft_max_, std::max(kDraftLeast, each)),
                      .token_ns = static_cast<double>(last_step_ns_) / value};
  // Where time does not tell, tokens do: the others keep a quarter.
  const bool is_timed = last_step_ns_ > 0 && !draft_all_;
  const std::int32_t for_well = is_timed ? kTeachBefore : kTeachBefore - kTeachBefore / 4;
  const std::int32_t used = ask_some(true, asking, is_timed, for_well);
  const std::int32_t for_others = is_timed ? kTeachBefore : kTeachBefore - used;
  const std::int32_t left = for_others - ask_some(false, asking, is_timed, for_others);
  if (!executor_->is_asynchronous()) {  // else there is more time beside the step
    teach_running(left);
  }
}

// Returns how many tokens were handed over. tokens_max: of one sequence where time is counted, else of all.
std::int32_t EngineCore::ask_some(bool lucky, const Asking& asking, bool is_timed, std::int32_t tokens_max) {
  const std::span<const SharingOrder::Entry> order = scheduler_.order();
  const double given_ns = static_cast<double>(
      std::max(last_step_ns_ / kGuessingIn, std::min(kGuessingNs, last_step_ns_ / kGuessingShortIn)));
  const double most_ns = std::max(given_ns, static_cast<double>(last_step_ns_ / kGuessingMostIn));
  AskingTurn& turn = asking_turns_[lucky ? 1 : 0];
  // One ask may be interrupted for long; that must not be paid for for long.
  turn.credit_ns = std::clamp(turn.credit_ns + given_ns, -kDebtMost * given_ns, given_ns);
  double spent_ns = 0;
  std::int32_t taught = 0;
  const std::size_t first = order.empty() ? 0 : turn.next % order.size();
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (is_timed && (turn.credit_ns <= 0 || spent_ns > most_ns)) {
      break;
    }
    const std::size_t at = (first + i) % order.size();
    Sequence& sequence = sequences_[order[at].slot];
    const std::int32_t unknown = untaught(sequence);
    if (!sequence.draws() || sequence.drafts_well() != lucky || unknown > tokens_max - (is_timed ? 0 : taught)) {
      continue;
    }
    const auto begin = SteadyTime::now();
    taught += teach(sequence, unknown);
    propose_draft(sequence, asking);
    turn.next = at + 1;
    const std::chrono::duration<double, std::nano> spent = SteadyTime::now() - begin;
    spent_ns += spent.count();
    turn.credit_ns -= spent.count();
    if (lucky) {
      for (const float survival : sequence.drafting.draft.survival) {  // less what the rows cost
        turn.credit_ns += asking.token_ns * kPromiseCounts * std::max(0.0F, survival - asking.survival_min);
      }
    }
  }
  return taught;
}

void EngineCore::propose_draft(Sequence& sequence, const Asking& asking) {
  const std::int32_t output_left =
      std::min(requests_[sequence.request].request.sampling.max_tokens - sequence.output_count(),
               limits_.model_tokens_max - sequence.token_count());
  const std::int32_t draft_max = std::min({asking.draft_max, scheduler_.draft_room(sequence), output_left - 1});
  if (draft_max <= 0) {
    return;
  }
  DraftTree& draft = sequence.drafting.draft;
  speculator_->propose(sequence.slot, draft_max, asking.survival_min, draft);
  COPPICE_CHECK(draft.size() <= draft_max && draft.survival.size() == draft.tokens.size(), "a proposal in its bounds");
  if (draft.size() == 0) {
    sequence.miss_draft();
    return;
  }
  const auto member = static_cast<std::int32_t>(drafting_.size());
  drafting_.push_back(sequence.slot);
  for (std::int32_t node = 0; node < draft.size(); ++node) {
    candidates_.push_back({draft.survival[static_cast<std::size_t>(node)], sequence.token_count() + 1, member, node});
  }
}

// The first `count` candidates stay, the others go.
void EngineCore::take_drafts(std::int32_t count) {
  keep_.assign(drafting_.size(), {});
  for (std::size_t i = 0; i < drafting_.size(); ++i) {
    keep_[i].assign(static_cast<std::size_t>(sequences_[drafting_[i]].drafting.draft.size()), 0);
  }
  for (std::int32_t i = 0; i < count; ++i) {
    const DraftCandidate& candidate = candidates_[static_cast<std::size_t>(i)];
    keep_[static_cast<std::size_t>(candidate.member)][static_cast<std::size_t>(candidate.node)] = 1;
  }
  for (std::size_t i = 0; i < drafting_.size(); ++i) {
    Sequence& sequence = sequences_[drafting_[i]];
    prune(sequence.drafting.draft, keep_[i], prune_scratch_);
    sequence.drafting.draft.truncate(std::min(sequence.drafting.draft.size(), scheduler_.draft_room(sequence)));
    scheduler_.take_draft(sequence, sequence.drafting.draft.size());
    if (count == 0) {  // none was worth its row
      sequence.miss_draft();
    }
    stats_.draft_budget += sequence.drafting.draft.size();
  }
}

void EngineCore::learn_from_step(const StepResult& result) {
  if (speculator_ && !draft_all_) {
    const double whole =
        static_cast<double>(result.device_ns > 0 ? result.device_ns : result.forward_ns + result.sample_ns);
    const auto attention = static_cast<double>(result.attention_ns);
    step_cost_.observe(landed_.token_count(), whole - attention, attention, static_cast<double>(result.keys_attended));
  }
}

std::future<Learnt> EngineCore::capture() {
  std::promise<Learnt> captured;
  std::future<Learnt> result = captured.get_future();
  commands_.push({CommandKind::kCapture, {}, 0, {}, std::move(captured)});
  return result;
}

// A copy in the making serves whoever asks meanwhile.
void EngineCore::begin_capture(std::promise<Learnt> captured) {
  if (captures_.empty() && speculator_) {
    speculator_->begin_capture();
  }
  captures_.push_back(std::move(captured));
}

void EngineCore::end_capture() {
  Learnt learnt;
  if (captures_.empty() || (speculator_ && !speculator_->take_capture(learnt.outputs))) {
    return;
  }
  learnt.step_costs = step_cost_.to_string();
  for (std::promise<Learnt>& captured : captures_) {
    captured.set_value(learnt);
  }
  captures_.clear();
}

absl::Status EngineCore::restore(Learnt learnt) {
  absl::Status status;
  if (!learnt.step_costs.empty()) {
    status.Update(step_cost_.restore(learnt.step_costs));
  }
  if (speculator_) {
    status.Update(speculator_->restore(std::move(learnt.outputs)));
  }
  return status;
}

}  // namespace coppice::engine
