// The engine's step, and the commands that come between steps.
#include "engine/engine_core.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/release.h"
#include "base/spin.h"
#include "base/status_macros.h"

namespace coppice::engine {
namespace {

// Commands other than submissions (cancels above all) that may wait in the queue before submissions are refused: more
// than a thousand clients that leave at once.
constexpr std::size_t kOtherCommandsMax = 4096;
// After each planning ahead the remembered time shrinks by 1/8, so that a rare long one is forgotten after about twenty
// steps.
constexpr std::uint64_t kPlanningFadeIn = 8;
// Sequences for which the tables keep their memory when the engine is idle: a megabyte.
constexpr std::int32_t kSlotsKept = 1024;

}  // namespace

EngineCore::EngineCore(const Limits& limits, const EngineOptions& options, const models::ModelConfig& model,
                       EngineParts parts)
    : clock_(parts.clock ? std::move(parts.clock) : std::make_unique<base::SteadyClock>()),
      check_integrity_(parts.check_integrity),
      commands_(2 * static_cast<std::size_t>(limits.queued_max) + kOtherCommandsMax),
      scheduler_(limits, options.prefix_cache, sequences_, requests_, options.cache_changes),
      sampler_(model.eos),
      constraints_(model.vocab),
      writer_(sequences_, sampler_, limits.page_size),
      pipeline_(std::move(parts.executor), *clock_),
      drafter_(std::move(parts.speculator), parts.drafts, {scheduler_, constraints_, sequences_, requests_}, *clock_,
               pipeline_.depth() > 1),
      desk_(limits, options, model, requests_, sequences_, {scheduler_, sampler_, constraints_, drafter_, pipeline_},
            stats_.counts(), *clock_),
      settlement_(limits.page_size, requests_, sequences_, {scheduler_, sampler_, constraints_, drafter_, pipeline_},
                  desk_, stats_) {}

// Sequences hold pages and locks of the scheduler's pool, so they go first.
EngineCore::~EngineCore() {
  for (SequenceSlot slot = 0; slot < sequences_.slots(); ++slot) {
    if (sequences_.is_live(slot)) {
      scheduler_.remove(sequences_[slot]);
    }
  }
}

Overload EngineCore::submit_all(std::vector<Request> requests) {
  const base::Clock::TimePoint now = clock_->now();
  const std::string account = account_of(requests.front());
  const auto count = static_cast<std::int32_t>(requests.size());
  const Request& first = requests.front();
  // One that goes before others, or behind them all, is not judged by the line.
  const bool is_judged = first.priority >= 0 && !first.background;
  const WaitingRoom::Party party{.account = account,
                                 .count = count,
                                 .takes_turns = takes_turns(first),
                                 .deadline = is_judged ? first.deadline : std::nullopt};
  const Overload overload = desk_.waiting_room().enter(party, now);
  if (overload.exists()) {
    return overload;
  }
  Command command{.kind = CommandKind::kSubmit, .requests = std::move(requests), .at = now};
  if (!commands_.try_push(std::move(command))) {
    desk_.waiting_room().give_back(party);
    return {OverloadReason::kQueue};
  }
  return {};
}

void EngineCore::cancel(RequestId request, std::int32_t choice) {
  Command command{.kind = CommandKind::kCancel, .request = request, .choice = std::max(choice, -1)};
  commands_.push(std::move(command));
}

bool EngineCore::learn(Corpus corpus) {
  return commands_.try_push({.kind = CommandKind::kLearn, .corpus = std::move(corpus)});
}

bool EngineCore::forget(Corpus corpus) {
  return commands_.try_push({.kind = CommandKind::kForget, .corpus = std::move(corpus)});
}

std::future<Learned> EngineCore::capture() {
  std::promise<Learned> captured;
  std::future<Learned> result = captured.get_future();
  commands_.push({.kind = CommandKind::kCapture, .captured = std::move(captured)});
  return result;
}

std::shared_ptr<const EngineView> EngineCore::view() {
  if (view_.ask()) {
    commands_.push({.kind = CommandKind::kView});
  }
  return view_.read();
}

void EngineCore::take_commands() {
  commands_.take(drained_);
  for (Command& command : drained_) {
    apply(command);
  }
  drained_.clear();
  end_failed();
  const base::Clock::TimePoint now = clock_->now();
  desk_.expire(now);
  scheduler_.set_time(now);
}

void EngineCore::apply(Command& command) {
  switch (command.kind) {
    case CommandKind::kSubmit:
      for (Request& request : command.requests) {
        desk_.start(std::move(request), command.at);
      }
      break;
    case CommandKind::kCancel:
      desk_.cancel(command.request, command.choice);
      break;
    case CommandKind::kLearn:
      drafter_.learn(std::move(command.corpus));
      break;
    case CommandKind::kForget:
      drafter_.forget(command.corpus);
      break;
    case CommandKind::kCapture:
      drafter_.begin_capture(std::move(command.captured));
      break;
    case CommandKind::kView:
      view_.publish(make_view(scheduler_.tree(), sequences_, requests_));
      break;
  }
}

bool EngineCore::step() {
  const base::Clock::TimePoint begin = clock_->now();
  pulse_.begin_turn();
  bool is_busy = pipeline_.is_flying();
  if (!is_busy) {
    take_commands();
    is_busy = sequences_.live() > 0;
    if (is_busy) {
      begin_step();
    } else {
      is_busy = drafter_.catch_up_idle();
    }
  }
  if (pipeline_.is_flying()) {
    pulse_.set_rows(pipeline_.flying().plan.token_count());
    work_beside_step();
    finish_step();
  }
  drafter_.end_capture();
  if (pipeline_.depth() == 1 || sequences_.live() == 0) {
    desk_.send_events();  // else beside the next step
  }
  const std::uint64_t turn_ns = base::ns_since(*clock_, begin);
  if (!is_busy) {
    give_memory_back();
  }
  const base::Clock::TimePoint end = begin + std::chrono::nanoseconds(turn_ns);
  desk_.waiting_room().set_free(scheduler_.free_places(), scheduler_.is_short_of_pages(), end);
  stats_.counts().queue.wait_ms = static_cast<std::uint64_t>(desk_.waiting_room().wait(end).count());
  stats_.publish(scheduler_, turn_ns);
  pulse_.end_turn(turn_ns, is_busy);
  if (check_integrity_) {
    scheduler_.check_integrity();
  }
  return is_busy;
}

// Nothing lives, flies or is to be learned. The tables have places for the most choices that ever waited, which may be
// very many, once.
void EngineCore::give_memory_back() {
  if (sequences_.slots() <= kSlotsKept || sequences_.live() > 0 || requests_.live() > 0) {
    return;
  }
  sequences_.shrink();
  requests_.shrink();
  sampler_.shrink();
  constraints_.shrink();
  desk_.shrink();
  base::release(drained_);
  commands_.shrink();
}

// Nothing flies: chooses, writes and submits a step.
void EngineCore::begin_step() {
  choose(false);
  propose_drafts();
  write();
  if (pipeline_.coming().plan.empty()) {
    pipeline_.give_up();
    // Nothing flies and nothing can be planned: the oldest sequence must fail, or all would wait for ever.
    const SequenceSlot oldest = scheduler_.oldest();
    if (scheduler_.unfit().empty() && oldest != kNoSequence) {
      desk_.finish(sequences_[oldest], FinishReason::kError, "the engine found no way to run this sequence");
    }
    return;
  }
  pulse_.set_rows(pipeline_.coming().plan.token_count());
  if (const absl::Status status = submit_written(); !status.ok()) {
    fail_rows(pipeline_.coming(), status);
  } else {
    settlement_.assume(pipeline_.flying());
  }
  end_failed();
}

// The coming step's sequences. With `ahead` the choice may stay incomplete until the step that flies is over.
void EngineCore::choose(bool ahead) {
  const base::ScopedTimer timer(*clock_, stats_.counts().times.plan_ns);
  const Scheduler::Choice choice = scheduler_.select({.again = pipeline_.was_tried(), .ahead = ahead});
  pipeline_.choose(choice.is_complete, choice.copies);
  for (const SequenceSlot slot : scheduler_.unfit()) {
    desk_.finish(sequences_[slot], FinishReason::kError, "the KV memory cannot hold this sequence; raise --kv-memory",
                 Fault::kMemory);
  }
}

void EngineCore::propose_drafts() {
  const base::ScopedTimer timer(*clock_, stats_.counts().times.speculation_ns);
  stats_.counts().last_step.draft_nodes = drafter_.propose();
}

void EngineCore::write() {
  const base::ScopedTimer timer(*clock_, stats_.counts().times.plan_ns);
  StepPlan& plan = pipeline_.coming().plan;
  plan.clear();
  writer_.write(scheduler_.order(), plan);
  if (!plan.empty()) {
    pipeline_.write();
  }
}

// What takes time here costs nothing as long as the device works.
void EngineCore::work_beside_step() {
  desk_.send_events();
  const bool is_foreseeable = pipeline_.flying().is_foreseeable;
  bool is_learning = true;
  const auto plan = [&] {
    take_commands();
    plan_ahead();
    desk_.send_events();  // of refusals and cancels
    is_learning = true;
  };
  if (is_foreseeable) {
    plan();
  }
  {
    const base::ScopedTimer timer(*clock_, stats_.counts().times.speculation_ns);
    is_learning = drafter_.teach_beside(pipeline_.flying().plan.token_count());
  }
  while (pipeline_.is_working()) {
    if (is_foreseeable && !commands_.is_empty() && has_time_to_plan()) {
      plan();
    } else if (is_learning) {
      const base::ScopedTimer timer(*clock_, stats_.counts().times.speculation_ns);
      is_learning = drafter_.teach_slice();
    } else if (is_foreseeable) {  // a command may still come
      const base::ScopedTimer timer(*clock_, stats_.counts().times.sample_ns);
      base::spin_a_little();
    } else {
      return;
    }
  }
}

// Whether the next step can be planned once more before the one that flies is over, as long as such steps take. A
// command that comes too late waits for the step after.
bool EngineCore::has_time_to_plan() const {
  const StepSlot& slot = pipeline_.flying();
  const double step_ns = drafter_.expected_ns(slot.plan.token_count());
  const std::uint64_t until_ns = base::ns_since(*clock_, slot.submitted_at) + planning_ns_;
  return step_ns == 0 || static_cast<double>(until_ns) < step_ns;
}

void EngineCore::plan_ahead() {
  const base::Clock::TimePoint begin = clock_->now();
  choose(true);
  if (pipeline_.is_chosen() && pipeline_.flying().plan.draft_parents.empty()) {
    write();
    if (pipeline_.coming().state == StepState::kWritten) {
      const base::ScopedTimer timer(*clock_, stats_.counts().times.plan_ns);
      pipeline_.prepare();
    }
  }
  planning_ns_ = std::max(base::ns_since(*clock_, begin), planning_ns_ - planning_ns_ / kPlanningFadeIn);
}

// Waits for the step that flies, starts the one that was planned meanwhile, and books the first.
void EngineCore::finish_step() {
  const absl::StatusOr<StepResult> result = pipeline_.land();
  StepSlot& landed = pipeline_.landed();
  stats_.counts().times.in_flight_ns += base::ns_since(*clock_, landed.submitted_at);
  if (!result.ok()) {
    fail_rows(landed, result.status());
    pipeline_.retire();
    return;
  }
  settlement_.settle(landed, *result, pipeline_.owed());
  const absl::Status started = start_planned();
  settlement_.book(landed, *result);
  pipeline_.retire();
  if (pipeline_.is_flying()) {
    settlement_.assume(pipeline_.flying());
  } else if (!started.ok()) {
    fail_rows(pipeline_.coming(), started);
  }
  end_failed();
}

// Submits the step that was chosen ahead, now that its tokens are there, with drafts if any are worth it. Not if all
// its sequences have ended. ERRORS: of submit_written().
absl::Status EngineCore::start_planned() {
  if (!pipeline_.is_chosen()) {
    return absl::OkStatus();
  }
  StepSlot& coming = pipeline_.coming();
  std::size_t ended = 0;
  for (const RowOutcome& outcome : pipeline_.landed().outcomes) {
    if (outcome.reason != FinishReason::kNone && sequences_[outcome.sequence].in_step()) {
      Scheduler::leave_out(sequences_[outcome.sequence]);
      ++ended;
    }
  }
  if (coming.state == StepState::kWritten && ended == coming.plan.rows.size()) {
    return absl::OkStatus();
  }
  propose_drafts();
  if (stats_.counts().last_step.draft_nodes > 0 || coming.state != StepState::kWritten) {
    write();
  } else {
    writer_.fill_in(coming.plan);
  }
  if (coming.plan.empty()) {
    return absl::OkStatus();
  }
  return submit_written();
}

// The forward pass goes off, then masks are made, beside it where the device works by itself, then the draws go off.
// ERRORS: of StepPipeline::submit().
absl::Status EngineCore::submit_written() {
  ++stats_.counts().steps;
  COPPICE_RETURN_IF_ERROR(pipeline_.submit());
  if (constraints_.any()) {
    const base::ScopedTimer timer(*clock_, stats_.counts().times.mask_ns);
    stats_.counts().constraints.masks += constraints_.write_masks(pipeline_.flying().plan);
  }
  pipeline_.draw();
  return absl::OkStatus();
}

// Ends the sequences whose constraint failed. Only where any sequence may end: their rows are dropped from the step
// that flies, and the coming one, if it is chosen already, is chosen again.
void EngineCore::end_failed() {
  for (SequenceSlot slot = constraints_.take_failed(); slot != kNoSequence; slot = constraints_.take_failed()) {
    ++stats_.counts().constraints.failed;
    desk_.finish(sequences_[slot], FinishReason::kError, constraints_.error(slot));
  }
}

// Ends the sequences of a step that could not be run, or was lost.
void EngineCore::fail_rows(const StepSlot& slot, const absl::Status& status) {
  const std::string error = "the step failed: " + std::string(status.message());
  for (const RowOutcome& outcome : slot.outcomes) {
    if (sequences_.is_live(outcome.sequence)) {
      desk_.finish(sequences_[outcome.sequence], FinishReason::kError, error);
    }
  }
}

}  // namespace coppice::engine
