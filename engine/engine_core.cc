// EngineCore outside its step: commands, life and end of requests, events, numbers. The step is engine_step.cc.
#include "engine/engine_core.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "engine/refusal.h"

namespace coppice::engine {
namespace {

constexpr std::uint64_t kSeedStream = 0x73656564;  // sets drawn seeds apart from every draw's stream
// Cancels that may stand in the command queue beside submissions before those are refused.
constexpr std::size_t kCancelsQueued = 4096;

// Tokens of put-off work between two looks at the commands when there is nothing else to do: about a millisecond.
constexpr std::int32_t kCatchUpIdle = 1024;

std::uint64_t fresh_seed(const EngineOptions& options) {
  if (options.seed_given) {
    return options.seed;
  }
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

}  // namespace

EngineCore::EngineCore(const Limits& limits, const EngineOptions& options, const models::ModelConfig& model,
                       EngineParts parts)
    : limits_(limits),
      model_(model),
      seed_(fresh_seed(options)),
      seed_given_(options.seed_given),
      clock_(parts.clock ? std::move(parts.clock) : std::make_unique<base::SteadyClock>()),
      executor_(std::move(parts.executor)),
      speculator_(std::move(parts.speculator)),
      draft_max_(parts.draft_max),
      draft_all_(parts.draft_all),
      check_integrity_(parts.check_integrity),
      commands_(static_cast<std::size_t>(limits.queued_max) + kCancelsQueued),
      scheduler_(limits, options.prefix_cache, sequences_, requests_),
      sampler_(model.eos),
      builder_(sequences_, sampler_, limits.page_size) {
  COPPICE_CHECK(executor_ != nullptr, "an engine needs an executor");
}

// Sequences hold pages and locks of the scheduler's pool, so they go first; a step that still runs reads them.
EngineCore::~EngineCore() {
  if (is_flying_) {
    static_cast<void>(executor_->collect());
  }
  for (SequenceSlot slot = 0; slot < sequences_.slots(); ++slot) {
    if (sequences_.is_live(slot)) {
      scheduler_.remove(sequences_[slot]);
    }
  }
}

bool EngineCore::submit(Request request) {
  if (waiting_room_.fetch_add(1) >= limits_.queued_max) {
    waiting_room_.fetch_sub(1);
    return false;
  }
  if (!commands_.try_push({CommandKind::kSubmit, std::move(request), 0, {}, {}})) {
    waiting_room_.fetch_sub(1);
    return false;
  }
  return true;
}

void EngineCore::cancel(RequestId request, std::int32_t choice) {
  Command command{CommandKind::kCancel, {}, std::max(choice, -1), {}, {}};
  command.request.id = request;
  commands_.push(std::move(command));
}

bool EngineCore::learn(Corpus corpus) {
  return commands_.try_push({CommandKind::kLearn, {}, 0, std::move(corpus), {}});
}

bool EngineCore::forget(Corpus corpus) {
  return commands_.try_push({CommandKind::kForget, {}, 0, std::move(corpus), {}});
}

bool EngineCore::step() {
  const std::uint64_t begin_ns = now_ns();
  bool busy = is_flying_;
  if (!is_flying_) {
    take_commands();
    busy = sequences_.live() > 0;
    if (busy) {
      begin_step();
    } else if (speculator_) {
      busy = speculator_->catch_up(kCatchUpIdle);
    }
  }
  if (is_flying_) {
    work_beside_step();
    finish_step();
  }
  end_capture();
  if (!executor_->is_asynchronous() || sequences_.live() == 0) {
    send_news();  // else while the next step runs
  }
  publish(begin_ns);
  if (check_integrity_) {
    scheduler_.check_integrity();
  }
  return busy;
}

void EngineCore::take_commands() {
  drain_commands();
  expire_deadlines();
}

void EngineCore::drain_commands() {
  commands_.take(drained_);
  for (Command& command : drained_) {
    switch (command.kind) {
      case CommandKind::kSubmit:
        start(std::move(command.request));
        break;
      case CommandKind::kCancel:
        apply_cancel(command.request.id, command.choice);
        break;
      case CommandKind::kLearn:
        if (speculator_) {
          speculator_->learn(std::move(command.corpus));
        }
        break;
      case CommandKind::kForget:
        if (speculator_) {
          speculator_->forget(command.corpus);
        }
        break;
      case CommandKind::kCapture:
        begin_capture(std::move(command.captured));
        break;
    }
  }
  drained_.clear();
}

void EngineCore::start(Request&& request) {
  COPPICE_CHECK(request.events != nullptr, "a request says where its events go");
  std::string reason = refusal(request, limits_, model_);
  if (reason.empty() && by_id_.contains(request.id)) {
    reason = "the request id is in use";
  }
  if (reason.empty() && request.pin) {
    reason = scheduler_.pin_refusal(static_cast<std::int32_t>(request.prompt.size()));
  }
  const std::int32_t place = requests_.take();
  RequestState& state = requests_[place];
  state.request = std::move(request);
  state.counted_waiting = true;
  if (!reason.empty()) {
    refuse(state, reason);
    retired_.push_back(place);
    return;
  }
  state.order = ++arrivals_;
  state.seed = seed_;  // with --seed, the same unseeded request draws the same
  if (state.request.sampling.seed.has_value()) {
    state.seed = *state.request.sampling.seed;
  } else if (!seed_given_) {
    const auto words = base::philox4x32(seed_, state.order, kSeedStream);
    state.seed = (std::uint64_t{words[1]} << 32) | words[0];
  }
  by_id_[state.request.id] = place;
  deadlines_ += state.request.deadline.has_value() ? 1 : 0;
  state.live_choices = state.request.choices;
  for (std::int32_t choice = 0; choice < state.request.choices; ++choice) {
    const SequenceSlot slot = sequences_.take();
    state.choices.push_back(slot);
    Sequence& sequence = sequences_[slot];
    sequence.slot = slot;
    sequence.request = place;
    sequence.choice = choice;
    sequence.seed = choice_seed(state.seed, choice);
  }
  promote_sibling(state);
}

// Every choice that was asked for hears of it.
void EngineCore::refuse(RequestState& state, const std::string& reason) {
  for (std::int32_t choice = 0; choice < std::clamp(state.request.choices, 1, limits_.choices_max); ++choice) {
    Event& event = outbox_[outbox_.add(state.request.events.get(), state.request.id, choice)];
    event.finish = FinishReason::kError;
    event.error = reason;
    event.client_error = true;
    ++stats_.finished[static_cast<std::size_t>(FinishReason::kError)];
  }
  leave_waiting_room(state);
}

// A choice gets its tokens only now: a dormant one costs nothing.
void EngineCore::activate(Sequence& sequence, RequestState& state) {
  const Request& request = state.request;
  constexpr std::int32_t kReserveMax = 1024;
  sequence.tokens.ids.reserve(request.prompt.size() +
                              static_cast<std::size_t>(std::min(request.sampling.max_tokens, kReserveMax)));
  sequence.tokens.ids = request.prompt;
  sequence.tokens.prompt_count = sequence.token_count();
  sequence.tokens.scored = sequence.choice == 0 && request.sampling.prompt_logprobs >= 0 ? 0 : -1;
  sampler_.begin(sequence.slot, request.sampling, sequence.seed, request.prompt);
  if (speculator_) {
    speculator_->begin(sequence.slot, request.tenant);
  }
}

// The first dormant choice computes the prompt; the others fork from it when it has (fork_siblings).
void EngineCore::promote_sibling(RequestState& state) {
  for (const SequenceSlot slot : state.choices) {
    if (slot != kNoSequence && sequences_[slot].tokens.ids.empty()) {
      activate(sequences_[slot], state);
      scheduler_.enqueue(sequences_[slot]);
      return;
    }
  }
}

void EngineCore::fork_siblings(Sequence& parent) {
  RequestState& state = requests_[parent.request];
  for (const SequenceSlot slot : state.choices) {
    if (slot != kNoSequence && sequences_[slot].tokens.ids.empty()) {
      Sequence& child = sequences_[slot];
      activate(child, state);
      scheduler_.fork(parent, child);
    }
  }
}

void EngineCore::apply_cancel(RequestId id, std::int32_t choice) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) {
    return;
  }
  RequestState& state = requests_[found->second];
  if (choice >= static_cast<std::int32_t>(state.choices.size())) {
    return;
  }
  end_choices(state, choice, FinishReason::kCancelled);
}

void EngineCore::end_choices(RequestState& state, std::int32_t choice, FinishReason reason) {
  // Last first: a choice that waits for its sibling's prompt is not promoted only to be ended.
  for (auto i = static_cast<std::int32_t>(state.choices.size()) - 1; i >= 0; --i) {
    const SequenceSlot slot = state.choices[static_cast<std::size_t>(i)];
    if (slot != kNoSequence && (choice == -1 || choice == i)) {
      finish(sequences_[slot], reason, {});
    }
  }
}

void EngineCore::expire_deadlines() {
  if (deadlines_ == 0) {
    return;
  }
  const base::Clock::TimePoint now = clock_->now();
  for (std::int32_t place = 0; place < requests_.slots(); ++place) {
    RequestState& state = requests_[place];
    if (requests_.is_live(place) && state.live_choices > 0 && state.request.deadline.has_value() &&
        *state.request.deadline <= now) {
      end_choices(state, -1, FinishReason::kDeadline);
    }
  }
}

Event& EngineCore::event_of(Sequence& sequence) {
  if (sequence.event.number != news_number_) {
    const Request& request = requests_[sequence.request].request;
    sequence.event.number = news_number_;
    sequence.event.place = outbox_.add(request.events.get(), request.id, sequence.choice);
  }
  return outbox_[sequence.event.place];
}

void EngineCore::finish(Sequence& sequence, FinishReason reason, const std::string& error) {
  RequestState& state = requests_[sequence.request];
  if (sequence.tokens.flight_row >= 0) {  // nobody hears of what is being computed
    flying_.rows[static_cast<std::size_t>(sequence.tokens.flight_row)].slot = kNoSequence;
  }
  if (sequence.tokens.awaits_token) {
    sequence.tokens.ids.pop_back();
    sequence.tokens.awaits_token = false;
  }
  Event& event = event_of(sequence);
  event.finish = reason;
  event.error = error;
  event.usage = sequence.usage;
  event.usage.cached_tokens = sequence.admission.found_tokens();
  event.usage.prompt_tokens = static_cast<std::int32_t>(state.request.prompt.size());
  event.usage.completion_tokens = sequence.output_count();
  ++stats_.finished[static_cast<std::size_t>(reason)];
  const bool active = !sequence.tokens.ids.empty();
  if (active) {
    scheduler_.remove(sequence);
    sampler_.end(sequence.slot);
    if (speculator_) {
      end_drafts(sequence);
    }
  }
  state.choices[static_cast<std::size_t>(sequence.choice)] = kNoSequence;
  sequences_.release(sequence.slot);
  if (--state.live_choices == 0) {
    leave_waiting_room(state);
    deadlines_ -= state.request.deadline.has_value() ? 1 : 0;
    const auto entry = by_id_.find(state.request.id);
    retired_.push_back(entry->second);
    by_id_.erase(entry);
  } else if (active) {
    promote_sibling(state);
  }
}

void EngineCore::leave_waiting_room(RequestState& state) {
  if (state.counted_waiting) {
    state.counted_waiting = false;
    waiting_room_.fetch_sub(1);
  }
}

// Requests live until their events are out: they own the queues.
void EngineCore::send_news() {
  outbox_.flush();
  ++news_number_;
  for (const std::int32_t place : retired_) {
    requests_.release(place);
  }
  retired_.clear();
}

void EngineCore::publish(std::uint64_t begin_ns) {
  step_ns_ += now_ns() - begin_ns;
  stats_.other_ns = step_ns_ - stats_.plan_ns - stats_.speculation_ns - stats_.forward_ns - stats_.sample_ns;
  stats_.running = scheduler_.running();
  stats_.waiting = scheduler_.waiting();
  stats_.preemptions = scheduler_.preemptions();
  stats_.prompt_tokens = scheduler_.admissions().prompt_tokens;
  stats_.prefix_queries = scheduler_.admissions().prefix_queries;
  stats_.prefix_hits = scheduler_.admissions().prefix_hits;
  stats_.pages_total = scheduler_.pool().pages();
  stats_.pages_free = scheduler_.pool().free_pages();
  stats_.pages_cached = scheduler_.tree().evictable_pages();
  stats_.pages_pinned = scheduler_.pinned_pages();
  published_.publish(stats_);
}

}  // namespace coppice::engine
