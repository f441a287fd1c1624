// Teaching the speculator; which sequences are asked for drafts, for how long, and which nodes a step carries.
#include "engine/drafter.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/check.h"

namespace coppice::engine {
namespace {

// A device that does not work by itself waits while its step is planned.
std::uint64_t pass_ns(const StepResult& result) {
  return result.device_ns > 0 ? result.device_ns : result.plan_ns + result.forward_ns + result.sample_ns;
}

// Above every chance of survival: nothing is worth proposing.
constexpr float kNoDrafts = 2;

}  // namespace

std::int32_t Teacher::predicted_count(const Sequence& sequence) const {
  return static_cast<std::int32_t>(requests_[sequence.request].request.prediction.size());
}

std::int32_t Teacher::untaught(const Sequence& sequence) const {
  if (!sequence.tokens.has_output()) {
    return 0;  // nothing will ever be drafted for it, nor learned from it
  }
  return predicted_count(sequence) + sequence.known_count() - sequence.drafting.taught_;
}

std::int32_t Teacher::teach(Sequence& sequence, std::int32_t tokens_max) {
  const std::vector<TokenId>& prediction = requests_[sequence.request].request.prediction;
  const std::int32_t predicted = predicted_count(sequence);
  std::int32_t& taught = sequence.drafting.taught_;
  std::int32_t left = tokens_max;
  // The part of `all` from `begin` to `end`.
  const auto hand_over = [&](TokenSource source, std::span<const TokenId> all, std::int32_t begin, std::int32_t end) {
    const std::int32_t count = std::min(end - begin, left);
    if (count > 0) {
      speculator_.observe(sequence.slot, source,
                          all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)));
      taught += count;
      left -= count;
    }
  };
  hand_over(TokenSource::kPrediction, prediction, taught, predicted);
  hand_over(TokenSource::kPrompt, sequence.tokens.ids(), taught - predicted, sequence.tokens.prompt_count());
  hand_over(TokenSource::kOutput, sequence.tokens.ids(), taught - predicted, sequence.known_count());
  return tokens_max - left;
}

std::int32_t Teacher::teach_running(Order order, std::int32_t tokens_max) {
  std::int32_t left = tokens_max;
  for (const bool short_ones : {true, false}) {
    for (const SharingOrder::Entry& entry : order) {
      if (left <= 0) {
        return tokens_max;
      }
      Sequence& sequence = sequences_[entry.slot];
      const std::int32_t count = untaught(sequence);
      if (count > 0 && (count <= policy_.teach_before) == short_ones) {
        left -= teach(sequence, left);
      }
    }
  }
  return tokens_max - left;
}

bool Teacher::teach_beside(Order order, std::int32_t rows) {
  const std::int32_t tokens_max = policy_.teach_beside + rows;
  const bool taught_all = teach_running(order, tokens_max) < tokens_max;
  return speculator_.catch_up(policy_.catch_up_beside) || !taught_all;
}

bool Teacher::teach_slice(Order order) {
  const std::int32_t taught = teach_running(order, policy_.teach_slice);
  const bool is_behind = taught == policy_.teach_slice || speculator_.catch_up(policy_.teach_slice - taught);
  return taught > 0 || is_behind;
}

void Teacher::end(Sequence& sequence) {
  const std::int32_t output_begin = predicted_count(sequence) + sequence.tokens.prompt_count();
  sequence.drafting.taught_ = std::max(sequence.drafting.taught_, output_begin);
  const std::int32_t missing = untaught(sequence);
  if (missing <= policy_.teach_before || !overlaps_) {
    teach(sequence, missing);
    speculator_.end(sequence.slot, {});
  } else {
    const std::span<const TokenId> ids(sequence.tokens.ids());
    speculator_.end(sequence.slot, ids.last(static_cast<std::size_t>(missing)));
  }
}

Drafter::Drafter(std::unique_ptr<Speculator> speculator, const DraftPolicy& policy, const DraftHomes& homes,
                 const base::Clock& clock, bool overlaps)
    : speculator_(std::move(speculator)),
      policy_(policy),
      scheduler_(homes.scheduler),
      constraints_(homes.constraints),
      sequences_(homes.sequences),
      clock_(clock),
      overlaps_(overlaps) {
  if (speculator_) {
    teacher_ = std::make_unique<Teacher>(*speculator_, policy_, homes.sequences, homes.requests, overlaps);
  }
}

void Drafter::begin(const Sequence& sequence, std::string_view tenant) {
  if (speculator_) {
    speculator_->begin(sequence.slot, tenant);
  }
}

void Drafter::start(Sequence& sequence) {
  DraftState& drafting = sequence.drafting;
  std::swap(drafting.flying_, drafting.draft_);
  drafting.draft_.clear();
  drafting.forced_flying_ = std::exchange(drafting.forced_, 0);
}

void Drafter::verified(Sequence& sequence, std::span<const std::int32_t> path) {
  sequence.drafting.count_draft(!path.empty());
  if (const std::int32_t forced = sequence.drafting.forced_flying_; forced > 0) {
    forced_survival_.observe(forced, count_forced(path, forced));
  }
  speculator_->verified(sequence.slot, sequence.drafting.flying_, path);
  sequence.drafting.flying_.clear();
}

void Drafter::end(Sequence& sequence) {
  if (speculator_) {
    teacher_->end(sequence);
  }
}

StepOutlook Drafter::outlook() const {
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

std::int32_t Drafter::propose() {
  if (!speculator_) {
    return 0;
  }
  const StepOutlook step = outlook();
  if (step_cost_.known() && step.rows > 0 && !step_cost_.covers(step.rows)) {
    return 0;  // a step without drafts is measured first
  }
  const float floor = step.value > 0 ? survival_floor(step_cost_, step) : kNoDrafts;
  if (floor >= 1) {
    return 0;
  }
  proposing_.clear();
  candidates_.clear();
  ask_all(floor, step.value);
  take(choose_drafts(step_cost_, step, candidates_));
  std::int32_t nodes = 0;
  for (const SequenceSlot slot : proposing_) {
    nodes += sequences_[slot].drafting.draft_.size();
  }
  return nodes;
}

// What a constraint forces is drafted as well as can be.
bool Drafter::is_promising(const Sequence& sequence) const {
  return sequence.drafting.drafts_well() || constraints_.has(sequence.slot);
}

// Asks the promising sequences, then the others, both in turn, as far as the time goes. value: of the step without
// drafts, in tokens.
void Drafter::ask_all(float survival_min, double value) {
  const std::span<const SharingOrder::Entry> order = scheduler_.order();
  const auto well = static_cast<std::int32_t>(std::ranges::count_if(
      order, [this](const SharingOrder::Entry& entry) { return is_promising(sequences_[entry.slot]); }));
  const Asking asking{.survival_min = survival_min,
                      .nodes_max = policy_.nodes_each(scheduler_.drafts_max(), well),
                      .token_ns = static_cast<double>(last_step_ns_) / value,
                      .is_timed = last_step_ns_ > 0 && !policy_.takes_all};
  const std::int32_t all = policy_.teach_before;
  const std::int32_t used = ask_some(true, asking, asking.is_timed ? all : all - all / policy_.others_in);
  const std::int32_t for_others = asking.is_timed ? all : all - used;
  const std::int32_t left = for_others - ask_some(false, asking, for_others);
  if (!overlaps_) {  // else there is more time beside the step
    teacher_->teach_running(order, left);
  }
}

// Asks the promising sequences, or the others. Returns the number of tokens handed over. tokens_max: of one sequence if
// asking is timed, else of all.
std::int32_t Drafter::ask_some(bool well, const Asking& asking, std::int32_t tokens_max) {
  const std::span<const SharingOrder::Entry> order = scheduler_.order();
  AskingTurn& turn = turns_[well ? 1 : 0];
  turn.begin_step(policy_, last_step_ns_);
  std::int32_t taught = 0;
  const std::size_t first = turn.first(order.size());
  for (std::size_t i = 0; i < order.size() && (!asking.is_timed || turn.has_time()); ++i) {
    const std::size_t place = (first + i) % order.size();
    Sequence& sequence = sequences_[order[place].slot];
    const std::int32_t untaught = teacher_->untaught(sequence);
    const std::int32_t untaught_max = asking.is_timed ? tokens_max : tokens_max - taught;
    const bool is_taught = untaught <= untaught_max;
    if (!sequence.draws() || !sequence.tokens.has_output() || is_promising(sequence) != well ||
        !(is_taught || constraints_.has(sequence.slot))) {
      continue;
    }
    const base::Clock::TimePoint begin = clock_.now();
    taught += is_taught ? teacher_->teach(sequence, untaught) : 0;
    const double saved_ns = ask(sequence, asking, is_taught);
    turn.asked(place, static_cast<double>(base::ns_since(clock_, begin)), well ? saved_ns * policy_.promise_share : 0);
  }
  return taught;
}

// Returns the nanoseconds that the proposal is expected to save, less the price of its rows. is_taught: the speculator
// knows all tokens of the sequence, so it can be asked.
double Drafter::ask(Sequence& sequence, const Asking& asking, bool is_taught) {
  // The last token that may be generated needs no successor.
  const std::int32_t nodes_max =
      std::min({asking.nodes_max, scheduler_.draft_room(sequence), sequence.tokens.left() - 1});
  DraftTree& draft = sequence.drafting.draft_;
  draft.clear();
  sequence.drafting.forced_ = 0;
  if (nodes_max <= 0) {
    return 0;
  }
  if (constraints_.has(sequence.slot)) {
    draft_constrained(sequence, nodes_max, asking.survival_min, is_taught);
  } else {
    speculator_->propose(sequence.slot, nodes_max, asking.survival_min, draft);
  }
  COPPICE_CHECK(draft.size() <= nodes_max && draft.survival.size() == draft.tokens.size(), "a proposal in its bounds");
  if (draft.size() == 0) {
    sequence.drafting.count_draft(false);
    return 0;
  }
  const auto member = static_cast<std::int32_t>(proposing_.size());
  proposing_.push_back(sequence.slot);
  double saved_ns = 0;
  for (std::int32_t node = 0; node < draft.size(); ++node) {
    const float survival = draft.survival[static_cast<std::size_t>(node)];
    candidates_.push_back({survival, sequence.token_count() + 1, member, node});
    saved_ns += asking.token_ns * std::max(0.0F, survival - asking.survival_min);
  }
  return saved_ns;
}

// What the constraint forces, then what the speculator proposes behind and beside it, without what the constraint
// forbids.
void Drafter::draft_constrained(Sequence& sequence, std::int32_t nodes_max, float survival_min, bool is_taught) {
  DraftTree& draft = sequence.drafting.draft_;
  const std::int32_t forced = constraints_.force(sequence.slot, nodes_max, forced_survival_.value(), draft);
  if (!constraints_.has(sequence.slot)) {
    return;  // it failed
  }
  if (is_taught && forced < nodes_max) {
    proposal_.clear();
    speculator_->propose(sequence.slot, nodes_max, survival_min, proposal_);
    graft(proposal_, nodes_max, draft, node_scratch_);
  }
  constraints_.filter(sequence.slot, draft);
  sequence.drafting.forced_ = std::min(forced, draft.size());
}

// The first `count` candidates become part of the step, the others are dropped.
void Drafter::take(std::int32_t count) {
  keep_.resize(std::max(keep_.size(), proposing_.size()));
  for (std::size_t i = 0; i < proposing_.size(); ++i) {
    keep_[i].assign(static_cast<std::size_t>(sequences_[proposing_[i]].drafting.draft_.size()), 0);
  }
  for (std::int32_t i = 0; i < count; ++i) {
    const DraftCandidate& candidate = candidates_[static_cast<std::size_t>(i)];
    keep_[static_cast<std::size_t>(candidate.member)][static_cast<std::size_t>(candidate.node)] = 1;
  }
  for (std::size_t i = 0; i < proposing_.size(); ++i) {
    Sequence& sequence = sequences_[proposing_[i]];
    DraftTree& draft = sequence.drafting.draft_;
    std::int32_t& forced = sequence.drafting.forced_;
    forced = static_cast<std::int32_t>(std::count(keep_[i].begin(), keep_[i].begin() + forced, 1));
    prune(draft, keep_[i], node_scratch_);
    draft.truncate(std::min(draft.size(), scheduler_.draft_room(sequence)));
    forced = std::min(forced, draft.size());
    scheduler_.take_draft(sequence, draft.size());
    if (count == 0) {  // no node was worth its row
      sequence.drafting.count_draft(false);
    }
  }
}

bool Drafter::teach_beside(std::int32_t rows) {
  return speculator_ != nullptr && teacher_->teach_beside(scheduler_.order(), rows);
}

bool Drafter::teach_slice() {
  return speculator_ != nullptr && teacher_->teach_slice(scheduler_.order());
}

bool Drafter::catch_up_idle() {
  return speculator_ != nullptr && speculator_->catch_up(policy_.catch_up_idle);
}

void Drafter::step_done(std::int32_t rows, const StepResult& result) {
  last_step_ns_ = pass_ns(result);
  const auto attention_ns = static_cast<double>(result.attention_ns);
  last_body_ns_ = static_cast<double>(last_step_ns_) - attention_ns;
  if (speculator_ && !policy_.takes_all) {
    step_cost_.observe(rows, last_body_ns_, attention_ns, static_cast<double>(result.keys_attended));
  }
}

double Drafter::expected_ns(std::int32_t rows) const {
  return last_step_ns_ > 0 && step_cost_.known() ? step_cost_.body_ns(rows) : static_cast<double>(last_step_ns_);
}

void Drafter::learn(Corpus&& corpus) {
  if (speculator_) {
    speculator_->learn(std::move(corpus));
  }
}

void Drafter::forget(const Corpus& corpus) {
  if (speculator_) {
    speculator_->forget(corpus);
  }
}

void Drafter::begin_capture(std::promise<Learned> captured) {
  if (captures_.empty() && speculator_) {
    speculator_->begin_capture();
  }
  captures_.push_back(std::move(captured));
}

void Drafter::end_capture() {
  Learned learned;
  if (captures_.empty() || (speculator_ && !speculator_->take_capture(learned.outputs))) {
    return;
  }
  learned.step_costs = step_cost_.to_string();
  for (std::promise<Learned>& captured : captures_) {
    captured.set_value(learned);
  }
  captures_.clear();
}

absl::Status Drafter::restore(Learned learned) {
  absl::Status status;
  if (!learned.step_costs.empty()) {
    status.Update(step_cost_.restore(learned.step_costs));
  }
  if (speculator_) {
    status.Update(speculator_->restore(std::move(learned.outputs)));
  }
  return status;
}

}  // namespace coppice::engine
