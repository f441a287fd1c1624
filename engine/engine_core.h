// EngineCore: the Engine as it is. A step goes choose (Scheduler) -> write (StepWriter) -> submit (StepPipeline) ->
// settle -> book (Settlement); drafts are the Drafter's, requests and events the RequestDesk's, what an output may be
// the Constraints'.
//
// While a step flies, the events of the step before go out, the speculator learns and, where the device works by
// itself, the next step is chosen and written. That needs no token of the step that flies: Settlement assumes it
// completed, one unknown token longer. When the tokens come, they are filled in and the next step goes off; only then
// is the last one booked. What is not known ahead:
//   - which sequences end with the step, except by length: their rows of the next step are computed and thrown away;
//   - how much of a draft is accepted: the step behind one that carries drafts is chosen ahead, but not written;
//   - whether the next step carries drafts: if it does, it is written anew, of the same choice;
//   - which sequences must be preempted for want of pages or places: the next step is then chosen when this one is
//   over;
//   - what forks hold: they take the pages that their parent has when its prompt is booked, so then too.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <vector>

#include "base/bounded_queue.h"
#include "base/clock.h"
#include "engine/constraints.h"
#include "engine/draft_budget.h"
#include "engine/drafter.h"
#include "engine/engine.h"
#include "engine/request_desk.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/settlement.h"
#include "engine/stats.h"
#include "engine/step_pipeline.h"
#include "engine/step_plan.h"
#include "engine/step_writer.h"

namespace coppice::engine {

// What Engine::create chooses by default and tests choose otherwise.
struct EngineParts {
  std::unique_ptr<StepExecutor> executor;
  std::unique_ptr<Speculator> speculator;  // may be null: no drafts
  std::unique_ptr<base::Clock> clock;      // null: the machine's
  DraftPolicy drafts;
  bool check_integrity = false;  // after every step
};

// Owner: the program's main object. Thread: as Engine says.
class EngineCore final : public Engine {
 public:
  EngineCore(const Limits& limits, const EngineOptions& options, const models::ModelConfig& model, EngineParts parts);
  ~EngineCore() override;

  Overload submit_all(std::vector<Request> requests) override;
  void cancel(RequestId request, std::int32_t choice) override;
  bool learn(Corpus corpus) override;
  bool forget(Corpus corpus) override;
  std::future<Learned> capture() override;
  absl::Status restore(Learned learned) override { return drafter_.restore(std::move(learned)); }
  EngineStats stats() const override { return stats_.read(); }
  std::shared_ptr<const EngineView> view() override;
  EnginePulse pulse() const override { return pulse_.read(!commands_.is_empty()); }
  bool step() override;
  void wait_for_work() override { commands_.wait(); }
  void stop_waiting() override { commands_.close(); }

  const Scheduler& scheduler() const { return scheduler_; }  // for tests

 private:
  enum class CommandKind : std::uint8_t { kSubmit, kCancel, kLearn, kForget, kCapture, kView };
  struct Command {
    CommandKind kind;
    std::vector<Request> requests = {};  // to submit
    base::Clock::TimePoint at = {};      // when they came
    RequestId request = 0;               // to cancel
    std::int32_t choice = 0;             // to cancel; -1: all
    Corpus corpus = {};
    std::promise<Learned> captured = {};
  };

  void take_commands();
  void give_memory_back();
  void apply(Command& command);
  void begin_step();
  void choose(bool ahead);
  void propose_drafts();
  void write();
  void work_beside_step();
  bool has_time_to_plan() const;
  void plan_ahead();
  void finish_step();
  absl::Status start_planned();
  absl::Status submit_written();
  void end_failed();
  void fail_rows(const StepSlot& slot, const absl::Status& status);

  const std::unique_ptr<base::Clock> clock_;
  const bool check_integrity_;
  base::BoundedQueue<Command> commands_;
  std::vector<Command> drained_;
  RequestTable requests_;
  SequenceTable sequences_;
  Scheduler scheduler_;
  Sampler sampler_;
  Constraints constraints_;
  StepWriter writer_;
  StepPipeline pipeline_;
  Drafter drafter_;
  StatsBook stats_;
  PulseBook pulse_;
  ViewBook view_;
  RequestDesk desk_;
  Settlement settlement_;
  std::uint64_t planning_ns_ = 0;  // that planning ahead takes: the longest of the last times
};

}  // namespace coppice::engine
