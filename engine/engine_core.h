// EngineCore: the Engine as it is. A step: take commands, expire deadlines, choose (Scheduler), guess (Speculator),
// write the plan (PlanBuilder), run it (StepExecutor), commit tokens, retire what ended. What a device need not wait
// for is done while it works: the speculator learns and, where submit() only starts a step, the events of the step
// before go out and the next step is planned (engine_step.cc). It owns all of these and has no other thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/bounded_queue.h"
#include "base/clock.h"
#include "base/snapshot.h"
#include "engine/draft_budget.h"
#include "engine/engine.h"
#include "engine/outbox.h"
#include "engine/plan_builder.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/speculation/speculator.h"
#include "engine/step_executor.h"

namespace coppice::engine {

// What Engine::create chooses by default and tests choose otherwise.
struct EngineParts {
  std::unique_ptr<StepExecutor> executor;
  std::unique_ptr<Speculator> speculator;  // may be null: no drafts
  std::unique_ptr<base::Clock> clock;      // null: the steady clock
  std::int32_t draft_max = 32;             // draft nodes of one sequence in one step
  bool draft_all = false;                  // every guess that fits, whatever steps cost: for tests, which time nothing
  bool check_integrity = false;            // after every step
};

// Owner: the program's main object. Thread: as Engine says.
class EngineCore final : public Engine {
 public:
  EngineCore(const Limits& limits, const EngineOptions& options, const models::ModelConfig& model, EngineParts parts);
  ~EngineCore() override;

  bool submit(Request request) override;
  void cancel(RequestId request, std::int32_t choice) override;
  bool learn(Corpus corpus) override;
  bool forget(Corpus corpus) override;
  std::future<Learnt> capture() override;
  absl::Status restore(Learnt learnt) override;
  EngineStats stats() const override { return published_.read(); }
  bool step() override;
  void wait_for_work() override { commands_.wait(); }
  void stop_waiting() override { commands_.close(); }

  const Scheduler& scheduler() const { return scheduler_; }  // for tests

 private:
  enum class CommandKind : std::uint8_t { kSubmit, kCancel, kLearn, kForget, kCapture };
  struct Command {
    CommandKind kind;
    Request request;          // to submit; or whose id is to be cancelled
    std::int32_t choice = 0;  // to cancel; -1: all
    Corpus corpus;
    std::promise<Learnt> captured;
  };

  // What came of a row of a step.
  struct RowOutcome {
    bool draws = false;  // its last logits are for a new token
    FinishReason reason = FinishReason::kNone;
    std::int32_t path_begin = 0;  // of its accepted draft nodes in paths_
    std::int32_t path_count = 0;
  };

  // How a sequence is asked for a draft.
  struct Asking {
    float survival_min = 0;
    std::int32_t draft_max = 0;
    double token_ns = 0;  // what a token costs without drafts
  };
  struct AskingTurn {
    std::size_t next = 0;  // place in the scheduler's order
    double credit_ns = 0;  // that asking may take
  };

  void take_commands();
  void drain_commands();
  void begin_capture(std::promise<Learnt> captured);
  void end_capture();
  void start(Request&& request);
  void refuse(RequestState& state, const std::string& reason);
  void activate(Sequence& sequence, RequestState& state);
  void apply_cancel(RequestId id, std::int32_t choice);
  void end_choices(RequestState& state, std::int32_t choice, FinishReason reason);
  void expire_deadlines();

  std::int32_t untaught(const Sequence& sequence) const;
  std::int32_t teach(Sequence& sequence, std::int32_t tokens_max);
  std::int32_t teach_running(std::int32_t tokens_max);
  bool teach_beside();
  bool teach_slice();
  void end_drafts(Sequence& sequence);
  StepOutlook outlook();
  bool propose_drafts();
  void ask_for_drafts(float survival_min, double value);
  std::int32_t ask_some(bool lucky, const Asking& asking, bool is_timed, std::int32_t tokens_max);
  void propose_draft(Sequence& sequence, const Asking& asking);
  void take_drafts(std::int32_t count);
  void learn_from_step(const StepResult& result);

  void begin_step();
  void work_beside_step();
  void finish_step();
  bool choose(bool ahead);
  void write_plan();
  bool has_time_to_plan() const;
  void plan_ahead();
  void choose_and_write_ahead();
  absl::Status start_planned();
  absl::Status submit_next();
  void take_for_done(StepPlan& plan);
  void settle(const StepResult& result);
  void settle_draws(Sequence& sequence, const StepRow& row, RowOutcome& outcome,
                    std::span<const kernels::SamplingResult> results);
  void book(const StepResult& result);
  void book_row(const StepRow& row, const RowOutcome& outcome, std::span<const kernels::SamplingResult> results);
  void report_scores(Sequence& sequence, std::span<const kernels::SamplingResult> results);
  void report_tokens(Sequence& sequence, const RowOutcome& outcome, std::span<const kernels::SamplingResult> results);
  void count_step(const StepResult& result);
  void fork_siblings(Sequence& parent);
  FinishReason finish_reason(const Sequence& sequence, TokenId token) const;
  void await_token(Sequence& sequence);

  Event& event_of(Sequence& sequence);
  void finish(Sequence& sequence, FinishReason reason, const std::string& error);
  void fail_rows(StepPlan& plan, const absl::Status& status);
  void promote_sibling(RequestState& state);
  void leave_waiting_room(RequestState& state);
  void send_news();
  void publish(std::uint64_t begin_ns);

  const Limits limits_;
  const models::ModelConfig model_;
  const std::uint64_t seed_;
  const bool seed_given_;
  const std::unique_ptr<base::Clock> clock_;
  const std::unique_ptr<StepExecutor> executor_;
  const std::unique_ptr<Speculator> speculator_;
  const std::int32_t draft_max_;
  const bool draft_all_;
  const bool check_integrity_;

  base::BoundedQueue<Command> commands_;
  std::atomic<std::int32_t> waiting_room_{0};  // requests submitted and not yet running: the 429 bound
  base::Snapshot<EngineStats> published_;

  RequestTable requests_;
  SequenceTable sequences_;
  absl::flat_hash_map<RequestId, std::int32_t> by_id_;
  Scheduler scheduler_;
  Sampler sampler_;
  PlanBuilder builder_;
  // A plan's way: next_ until it is submitted, flying_ until its results are there, landed_ until they are booked.
  StepPlan next_;
  StepPlan flying_;
  StepPlan landed_;
  bool is_flying_ = false;
  bool is_foreseeable_ = false;  // the step may be chosen that follows the one that runs
  bool is_chosen_ = false;       // that was tried since the last submission
  bool is_planned_ = false;      // it was chosen
  bool is_written_ = false;      // and next_ is ready but for the tokens that are being drawn
  std::chrono::steady_clock::time_point submitted_;
  std::uint64_t planning_ns_ = 0;     // that planning ahead takes at the most
  std::vector<RowOutcome> outcomes_;  // of flying_, then landed_
  std::vector<std::int32_t> paths_;
  Outbox outbox_;
  EngineStats stats_;
  std::uint64_t arrivals_ = 0;
  std::uint64_t news_number_ = 1;  // of the outbox's present content
  std::int32_t deadlines_ = 0;     // live requests that have one
  std::vector<Command> drained_;
  std::vector<std::int32_t> retired_;  // requests whose last event is in the outbox
  std::vector<std::int32_t> path_;     // accepted draft nodes of one sequence
  StepCost step_cost_;
  std::vector<std::promise<Learnt>> captures_;  // who waits for the copy that is being made
  std::vector<SequenceSlot> drafting_;          // sequences with a proposal in this step
  std::array<AskingTurn, 2> asking_turns_;      // of sequences that do not draft well, and that do
  std::uint64_t last_step_ns_ = 0;              // of the last step's pass
  std::vector<DraftCandidate> candidates_;
  std::vector<std::vector<std::uint8_t>> keep_;
  std::vector<std::int32_t> prune_scratch_;
  std::uint64_t step_ns_ = 0;  // all steps, whole
};

}  // namespace coppice::engine
