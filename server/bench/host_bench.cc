// An engine on steps that cost nothing.
#include "server/bench/host_bench.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "base/random.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/step_plan.h"
#include "kernels/attention_plan.h"

namespace coppice::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kKvBytes = std::size_t{96} << 30;  // pages are only counted here
constexpr TokenId kFirstToken = 3;                       // ids below it are special in most vocabularies
constexpr TokenId kEndToken = 2;                         // the end token of the Llama family

double microseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

TokenId draw_token(std::uint64_t stream, std::uint64_t count, std::int32_t vocab) {
  return kFirstToken +
         static_cast<TokenId>(base::philox4x32(1, count, stream)[0] % static_cast<std::uint32_t>(vocab - kFirstToken));
}

struct StepTimes {
  std::vector<double> idle_us;
  double attention_plan_us = 0;
  std::int64_t prepared = 0;  // of them were planned ahead
  bool counts_all = false;    // not only steps that decode: set and unset while they run
};

// Plans attention as the runner does, ahead where the engine does, and draws random tokens.
class IdleExecutor final : public engine::StepExecutor {
 public:
  IdleExecutor(const models::ModelConfig& config, const HostBenchOptions& options, bool sharing, std::int32_t page_size,
               StepTimes& times)
      : vocab_(config.vocab),
        step_us_(options.step_us),
        ends_in_(options.turns > 1 ? std::max(1, options.output / 4) : 0),
        period_(static_cast<std::uint64_t>(options.period)),
        times_(times) {
    plan_options_.sharing = sharing;
    plan_options_.page_size = page_size;
    plan_options_.window = config.sliding_window;
    plan_options_.group_size = config.query_heads / config.key_heads;
    plan_options_.key_heads = config.key_heads;
    plan_options_.workers = options.workers;
  }

  bool is_asynchronous() const override { return true; }
  bool is_working() const override { return microseconds(Clock::now() - submitted_) < step_us_; }

  void prepare(const engine::StepPlan& plan) override {
    plan_attention(plan);
    prepared_ = plan.number;
  }

  absl::Status submit(const engine::StepPlan& plan) override {
    const Clock::time_point begin = Clock::now();
    const bool is_prepared = plan.number == prepared_;
    if (!is_prepared) {
      plan_attention(plan);
    }
    const Clock::time_point ended = std::max(
        drawn_at_,
        submitted_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::micro>(step_us_)));
    submitted_ = Clock::now();
    const bool decodes = times_.counts_all || std::ranges::all_of(plan.rows, [](const engine::StepRow& row) {
                           return row.logits_count > 0 && row.linear_count() == 1;
                         });
    if (decodes && before_decoded_) {
      times_.idle_us.push_back(microseconds(submitted_ - ended));
      times_.attention_plan_us += microseconds(submitted_ - begin);
      times_.prepared += is_prepared ? 1 : 0;
    }
    before_decoded_ = decodes;
    return absl::OkStatus();
  }

  // The device's work, so in its time, and if that is too short not counted.
  void draw(const engine::StepPlan& plan) override {
    draw_rows(plan);
    drawn_at_ = Clock::now();
  }

  absl::StatusOr<engine::StepResult> collect() override {
    while (is_working()) {
    }
    results_.swap(drawn_);
    engine::StepResult result;
    result.results = results_;
    result.device_ns = static_cast<std::uint64_t>(step_us_ * 1e3);
    return result;
  }

 private:
  void draw_rows(const engine::StepPlan& plan) {
    drawn_.resize(plan.logits_rows.size());
    for (std::size_t i = 0; i < drawn_.size(); ++i) {
      ++draws_;
      const std::vector<std::int32_t>& positions = attention_->row_positions;
      const auto place = static_cast<std::uint64_t>(positions[static_cast<std::size_t>(plan.logits_rows[i])]);
      const TokenId token = draw_token(2, period_ > 0 ? place % period_ : draws_, vocab_);
      const bool ends = ends_in_ > 0 && draw_token(1, draws_, vocab_) % ends_in_ == 0;
      drawn_[i].token = ends ? kEndToken : token;
    }
  }

  void plan_attention(const engine::StepPlan& plan) {
    engine::list_plan_sequences(plan, sequences_);
    attention_ = &planner_.plan(sequences_, plan_options_);
  }

  const std::int32_t vocab_;
  const double step_us_;
  const std::int32_t ends_in_;  // 1/ends_in_ of the output tokens are the last; 0: none
  const std::uint64_t period_;
  StepTimes& times_;
  kernels::PlanOptions plan_options_;
  kernels::AttentionPlanner planner_;
  const kernels::AttentionPlan* attention_ = nullptr;  // the planner's last
  std::vector<kernels::PlanSequence> sequences_;
  std::vector<kernels::SamplingResult> drawn_;    // of the step that was submitted
  std::vector<kernels::SamplingResult> results_;  // of the step that was collected
  std::uint64_t prepared_ = 0;                    // the plan of that number
  std::uint64_t draws_ = 0;
  Clock::time_point submitted_;
  Clock::time_point drawn_at_;
  bool before_decoded_ = false;
};

engine::Request make_request(const HostBenchOptions& options, std::int32_t vocab, std::uint64_t id,
                             std::shared_ptr<engine::EventQueue> queue) {
  engine::Request request;
  request.id = id;
  for (std::int32_t i = 0; i < options.shared_prefix; ++i) {
    request.prompt.push_back(draw_token(0, static_cast<std::uint64_t>(i), vocab));
  }
  for (std::int32_t i = 0; i < options.unique_prefix; ++i) {
    request.prompt.push_back(draw_token(2 + id, static_cast<std::uint64_t>(i), vocab));
  }
  request.sampling.max_tokens = options.output;
  request.sampling.ignore_eos = true;
  request.sampling.stop_tokens = {kEndToken};
  request.sampling.seed = id;
  request.events = std::move(queue);
  return request;
}

}  // namespace

absl::StatusOr<HostBenchResult> run_host_bench(const HostBenchOptions& options, const models::ModelConfig& config,
                                               engine::EngineOptions engine_options) {
  if (options.shared_prefix + options.unique_prefix < 1) {
    return absl::InvalidArgumentError("--shared-prefix and --unique-prefix: a prompt has at least one token");
  }
  engine_options.queued_max = options.requests;
  engine_options.running_max = options.requests;
  engine_options.kv_bytes = kKvBytes;
  engine_options.model_tokens_max = options.shared_prefix + options.unique_prefix + options.output;
  COPPICE_ASSIGN_OR_RETURN(const engine::Limits limits,
                           engine::derive_limits(engine_options, config, {kernels::KvKind::kBF16}, 2 * kKvBytes));
  StepTimes times;
  COPPICE_ASSIGN_OR_RETURN(
      auto engine, engine::Engine::create(limits, engine_options, config,
                                          std::make_unique<IdleExecutor>(config, options, engine_options.sharing,
                                                                         limits.page_size, times)));
  const auto queue = std::make_shared<engine::EventQueue>(nullptr);
  std::int64_t submitted = 0;
  const auto submit_one = [&] {
    return engine->submit(make_request(options, config.vocab, static_cast<std::uint64_t>(++submitted), queue));
  };
  while (submitted < options.requests) {
    if (!submit_one()) {
      return absl::InvalidArgumentError("the requests do not fit the engine's queue");
    }
  }
  const std::int64_t all = std::int64_t{options.requests} * options.turns;
  while (engine->step()) {
    for (const engine::Event& event : queue->take()) {
      if (event.finish == engine::FinishReason::kError) {
        return absl::InvalidArgumentError(event.error);
      }
      if (event.finish != engine::FinishReason::kNone && submitted < all && !submit_one()) {
        return absl::InternalError("the engine's queue has no place for one request");
      }
    }
    times.counts_all = options.turns > 1 && submitted > options.requests && submitted < all;
  }
  if (times.idle_us.empty()) {
    return absl::InvalidArgumentError("--output: too few tokens for two steps that only decode");
  }
  const engine::EngineStats stats = engine->stats();
  HostBenchResult result;
  result.steps = static_cast<std::int64_t>(times.idle_us.size());
  const auto steps = static_cast<double>(result.steps);
  std::ranges::sort(times.idle_us);
  result.idle_p50 = times.idle_us[times.idle_us.size() / 2];
  result.idle_p99 = times.idle_us[times.idle_us.size() * 99 / 100];
  result.idle_mean = std::accumulate(times.idle_us.begin(), times.idle_us.end(), 0.0) / steps;
  result.attention_plan_mean = times.attention_plan_us / steps;
  result.planned_ahead = static_cast<double>(times.prepared) / steps;
  const auto all_steps = static_cast<double>(stats.steps);
  result.speculation_mean = static_cast<double>(stats.times.speculation_ns) * 1e-3 / all_steps;
  result.draft_tokens_mean = static_cast<double>(stats.drafts.tokens) / all_steps;
  return result;
}

}  // namespace coppice::server
