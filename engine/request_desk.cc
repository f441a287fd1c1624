// How requests begin and end.
#include "engine/request_desk.h"

#include <algorithm>
#include <cstddef>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "engine/refusal.h"

namespace coppice::engine {
namespace {

// Stream of drawn seeds: "seed" in ASCII. Any number will do that no other stream has.
constexpr std::uint64_t kSeedStream = 0x73656564;
// Output tokens that a sequence has memory for at its start: 4 KiB, so that most outputs never move.
constexpr std::int32_t kOutputReserved = 1024;

std::uint64_t fresh_seed(const EngineOptions& options) {
  if (options.seed_given) {
    return options.seed;
  }
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace

RequestDesk::RequestDesk(const Limits& limits, const EngineOptions& options, const models::ModelConfig& model,
                         RequestTable& requests, SequenceTable& sequences, const SequenceHomes& homes,
                         EngineStats& stats, const base::Clock& clock)
    : limits_(limits),
      model_(model),
      seed_(fresh_seed(options)),
      seed_given_(options.seed_given),
      requests_(requests),
      sequences_(sequences),
      homes_(homes),
      stats_(stats),
      clock_(clock),
      waiting_room_(limits.queued_max) {}

void RequestDesk::start(Request&& request, base::Clock::TimePoint submitted) {
  COPPICE_CHECK(request.events != nullptr, "a request says where its events go");
  std::string reason = refusal(request, limits_, model_);
  if (reason.empty() && by_id_.contains(request.id)) {
    reason = "the request id is in use";
  }
  if (reason.empty() && request.pin) {
    reason = homes_.scheduler.pin_refusal(static_cast<std::int32_t>(request.prompt.size()));
  }
  const std::int32_t place = requests_.take();
  RequestState& state = requests_[place];
  state.request = std::move(request);
  state.counted_waiting = true;
  state.submitted = submitted;
  if (!reason.empty()) {
    refuse(state, reason);
    retired_.push_back(place);
    return;
  }
  state.order = ++arrivals_;
  state.seed = seed_of(state);
  by_id_[state.request.id] = place;
  deadlines_ += state.request.deadline.has_value() ? 1 : 0;
  open_choices(state, place);
  if (state.request.prompt.empty()) {  // branches without a trunk: none waits for another
    while (state.dormant_choices > 0) {
      promote_sibling(state);
    }
  } else {
    promote_sibling(state);
  }
}

// Every choice gets an event.
void RequestDesk::refuse(RequestState& state, const std::string& reason) {
  const std::int32_t most = state.request.reading == Reading::kNone ? limits_.choices_max : limits_.branches_max;
  for (std::int32_t choice = 0; choice < std::clamp(state.request.choices, 1, most); ++choice) {
    OutboxEntry entry;
    Event& event = outbox_.event(entry, state.request.events.get(), state.request.id, choice);
    event.finish = FinishReason::kError;
    event.error = reason;
    event.fault = Fault::kRequest;
    ++stats_.finished[static_cast<std::size_t>(FinishReason::kError)];
  }
  leave_waiting_room(state, clock_.now());
}

// Without a seed of its own a request gets one from the engine's seed and its arrival. If the user gave the engine's
// seed, that is its seed: the same request draws the same again.
std::uint64_t RequestDesk::seed_of(const RequestState& state) const {
  if (state.request.sampling.seed.has_value()) {
    return *state.request.sampling.seed;
  }
  if (seed_given_) {
    return seed_;
  }
  const auto words = base::philox4x32(seed_, state.order, kSeedStream);
  return (std::uint64_t{words[1]} << 32) | words[0];
}

void RequestDesk::open_choices(RequestState& state, std::int32_t place) {
  state.live_choices = state.request.choices;
  state.dormant_choices = state.request.choices;
  for (std::int32_t choice = 0; choice < state.request.choices; ++choice) {
    const SequenceSlot slot = sequences_.take();
    state.choices.push_back(slot);
    Sequence& sequence = sequences_[slot];
    sequence.slot = slot;
    sequence.request = place;
    sequence.choice = choice;
    sequence.seed = choice_seed(state.seed, choice);
  }
}

// A choice gets its tokens only now: a dormant one costs nothing.
void RequestDesk::activate(Sequence& sequence, RequestState& state) {
  static const Branch kNoBranch;
  const Request& request = state.request;
  const Branch& branch =
      request.branches.empty() ? kNoBranch : request.branches[static_cast<std::size_t>(sequence.choice)];
  TokenState& tokens = sequence.tokens;
  tokens.ids_.reserve(request.prompt.size() + branch.tokens.size() +
                      static_cast<std::size_t>(std::min(request.sampling.max_tokens, kOutputReserved)));
  tokens.ids_ = request.prompt;
  tokens.ids_.insert(tokens.ids_.end(), branch.tokens.begin(), branch.tokens.end());
  tokens.prompt_count_ = tokens.count();
  tokens.count_max_ = static_cast<std::int32_t>(std::min(
      std::int64_t{limits_.model_tokens_max}, std::int64_t{tokens.prompt_count_} + request.sampling.max_tokens));
  sequence.reading.kind_ = request.reading;
  if (request.reading == Reading::kMeanHidden) {
    tokens.rows_reported_ = 0;
    tokens.rows_wanted_ = tokens.prompt_count_;
  } else if (sequence.choice == 0 && request.sampling.prompt_logprobs >= 0) {
    tokens.rows_reported_ = 0;
    tokens.rows_wanted_ = tokens.prompt_count_ - 1;  // nothing comes after the last
  }
  homes_.sampler.begin(sequence.slot, request.sampling, sequence.seed, request.prompt, branch.labels);
  if (request.constraint != nullptr) {
    homes_.constraints.begin(sequence.slot, *request.constraint);
  }
  homes_.drafter.begin(sequence, request.tenant);
  --state.dormant_choices;
}

// The first dormant choice computes the prompt; the others fork from it when it has (fork_siblings).
void RequestDesk::promote_sibling(RequestState& state) {
  for (const SequenceSlot slot : state.choices) {
    if (slot != kNoSequence && sequences_[slot].tokens.ids().empty()) {
      activate(sequences_[slot], state);
      homes_.scheduler.enqueue(sequences_[slot]);
      return;
    }
  }
}

void RequestDesk::fork_siblings(const Sequence& parent) {
  RequestState& state = requests_[parent.request];
  for (const SequenceSlot slot : state.choices) {
    if (slot != kNoSequence && sequences_[slot].tokens.ids().empty()) {
      activate(sequences_[slot], state);
      homes_.scheduler.fork(parent, sequences_[slot]);
    }
  }
}

void RequestDesk::cancel(RequestId id, std::int32_t choice) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) {
    return;
  }
  RequestState& state = requests_[found->second];
  if (choice < static_cast<std::int32_t>(state.choices.size())) {
    end_choices(state, choice, FinishReason::kCancelled);
  }
}

void RequestDesk::end_choices(RequestState& state, std::int32_t choice, FinishReason reason) {
  // Last first: a choice that waits for its sibling's prompt is not promoted only to be ended.
  for (auto i = static_cast<std::int32_t>(state.choices.size()) - 1; i >= 0; --i) {
    const SequenceSlot slot = state.choices[static_cast<std::size_t>(i)];
    if (slot != kNoSequence && (choice == -1 || choice == i)) {
      finish(sequences_[slot], reason, {});
    }
  }
}

void RequestDesk::expire(base::Clock::TimePoint now) {
  if (deadlines_ == 0) {
    return;
  }
  for (std::int32_t place = 0; place < requests_.slots(); ++place) {
    RequestState& state = requests_[place];
    if (requests_.is_live(place) && state.live_choices > 0 && state.request.deadline.has_value() &&
        *state.request.deadline <= now) {
      end_choices(state, -1, FinishReason::kDeadline);
    }
  }
}

void RequestDesk::finish(Sequence& sequence, FinishReason reason, const std::string& error, Fault fault) {
  RequestState& state = requests_[sequence.request];
  homes_.pipeline.drop(sequence.slot);
  sequence.tokens.forget_awaited();
  Event& event = event_of(sequence);
  event.finish = reason;
  event.error = error;
  event.fault = fault;
  const std::int32_t cached_tokens = event.usage.cached_tokens;
  event.usage = sequence.usage;
  event.usage.cached_tokens = cached_tokens;
  event.usage.cache_write_tokens = sequence.hold.written();
  const bool is_active = !sequence.tokens.ids().empty();
  event.usage.prompt_tokens =
      is_active ? sequence.tokens.prompt_count() : static_cast<std::int32_t>(state.request.prompt.size());
  event.usage.completion_tokens = sequence.output_count();
  ++stats_.finished[static_cast<std::size_t>(reason)];
  state.dormant_choices -= is_active ? 0 : 1;
  if (is_active) {
    homes_.scheduler.remove(sequence);
    homes_.sampler.end(sequence.slot);
    homes_.constraints.end(sequence.slot);
    homes_.drafter.end(sequence);
  }
  state.choices[static_cast<std::size_t>(sequence.choice)] = kNoSequence;
  sequences_.release(sequence.slot);
  if (--state.live_choices == 0) {
    close(state);
  } else if (is_active) {
    promote_sibling(state);
  }
}

void RequestDesk::close(RequestState& state) {
  leave_waiting_room(state, clock_.now());
  deadlines_ -= state.request.deadline.has_value() ? 1 : 0;
  const auto entry = by_id_.find(state.request.id);
  retired_.push_back(entry->second);
  by_id_.erase(entry);
}

void RequestDesk::begin_service(RequestState& state, base::Clock::TimePoint at) {
  if (state.counted_waiting) {
    state.queued_ns = base::ns_between(state.submitted, std::max(at, state.submitted));
    leave_waiting_room(state, at);
  }
}

void RequestDesk::leave_waiting_room(RequestState& state, base::Clock::TimePoint at) {
  if (state.counted_waiting) {
    state.counted_waiting = false;
    waiting_room_.leave({.account = account_of(state.request), .takes_turns = takes_turns(state.request)}, at);
  }
}

Event& RequestDesk::event_of(Sequence& sequence) {
  const RequestState& state = requests_[sequence.request];
  Event& event = outbox_.event(sequence.event, state.request.events.get(), state.request.id, sequence.choice);
  event.queued_ns = state.queued_ns;
  event.usage.cached_tokens = sequence.admission.found_tokens();
  return event;
}

// Requests live until their events are out: they own the queues.
void RequestDesk::send_events() {
  outbox_.flush();
  for (const std::int32_t place : retired_) {
    requests_.release(place);
  }
  retired_.clear();
}

}  // namespace coppice::engine
