// The real StepExecutor: plans attention, loads a plan's arrays, runs the model, samples.
#include "engine/runner.h"

#include <span>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/step_plan.h"

namespace coppice::engine {
namespace {

class Runner final : public StepExecutor {
 public:
  Runner(models::Transformer& model, kernels::Backend& backend, const Limits& limits, bool sharing,
         std::unique_ptr<kernels::KvCache> cache, kernels::StepProgram program, const base::Clock& clock)
      : model_(model),
        device_(backend.device()),
        steps_(backend.steps()),
        operations_(backend.operations()),
        clock_(clock),
        cache_(std::move(cache)),
        program_(program) {
    const models::ModelConfig& config = model.config();
    options_.sharing = sharing;
    options_.page_size = limits.page_size;
    options_.window = config.sliding_window;
    options_.group_size = config.query_heads / config.key_heads;
    options_.key_heads = config.key_heads;
    options_.workers = cache_->workers();
    options_.costs = cache_->plan_costs();
    options_.partials_most = steps_.partials_most(program_);
    sequences_.reserve(static_cast<std::size_t>(limits.running_max));
  }

  bool is_asynchronous() const override { return steps_.is_asynchronous(); }
  bool is_working() const override { return steps_.is_working(); }
  void prepare(const StepPlan& plan) override {
    prepared_ = steps_.prepare(program_, arrays_of(plan), attention_of(plan), model_.attention_parameters());
    prepared_number_ = plan.number;
  }

  absl::Status submit(const StepPlan& plan) override {
    const auto begin = clock_.now();
    if (!plan.moves.empty()) {
      device_.move_slots(*cache_, plan.moves);
    }
    for (const PageCopy& copy : plan.copies) {
      device_.copy_page(*cache_, copy.from, copy.to);
    }
    const kernels::AttentionPlan& attention = attention_of(plan);
    const auto planned = clock_.now();
    const std::uint64_t attention_ns = operations_.times().attention_ns;
    if (plan.number == 0 || plan.number != prepared_number_) {
      prepared_ = steps_.prepare(program_, arrays_of(plan), attention, model_.attention_parameters());
    }
    prepared_number_ = 0;
    steps_.run(std::move(prepared_), plan.tokens,
               [&](const kernels::LoadedStep& step) { model_.forward(step, *cache_); });
    hidden_rows_ = static_cast<std::int64_t>(plan.hidden_rows.size());
    result_ = StepResult{};
    result_.keys_attended = attention.keys_attended;
    result_.keys_read = attention.keys_read;
    result_.shared_items = attention.shared_items;
    result_.depth = attention.depth;
    result_.plan_ns = base::ns_between(begin, planned);
    result_.attention_ns = operations_.times().attention_ns - attention_ns;
    result_.forward_ns = base::ns_between(planned, clock_.now());
    return absl::OkStatus();
  }

  void draw(const StepPlan& plan) override {
    const auto begin = clock_.now();
    list_sampling_rows(plan, sampling_);
    steps_.sample(model_.logits(static_cast<std::int64_t>(sampling_.size())), sampling_);
    result_.forward_ns += base::ns_between(begin, clock_.now());
    is_drawn_ = true;
  }

  absl::StatusOr<StepResult> collect() override {
    COPPICE_CHECK(is_drawn_, "collect() follows draw()");
    is_drawn_ = false;
    const auto begin = clock_.now();
    const kernels::StepResults results = steps_.finish();
    result_.results = results.draws;
    result_.hidden = fetch_hidden();
    result_.device_ns = results.device_ns;
    if (result_.device_ns > 0) {
      result_.attention_ns = 0;  // what was counted are launches
    }
    result_.sample_ns = base::ns_between(begin, clock_.now());
    return result_;
  }

 private:
  static kernels::StepArrays arrays_of(const StepPlan& plan) {
    return {.slots = plan.slots, .logits_rows = plan.logits_rows, .hidden_rows = plan.hidden_rows};
  }

  // Of the step that is over.
  std::span<const float> fetch_hidden() {
    const kernels::Matrix states = model_.hidden_states(hidden_rows_);
    hidden_.resize(static_cast<std::size_t>(states.rows * states.columns));
    if (!hidden_.empty()) {
      device_.download(states.data, hidden_.data(), hidden_.size() * sizeof(float));
    }
    return hidden_;
  }

  // Planned unless prepare() did.
  const kernels::AttentionPlan& attention_of(const StepPlan& plan) {
    if (attention_ == nullptr || plan.number == 0 || plan.number != planned_number_) {
      list_plan_sequences(plan, sequences_);
      attention_ = &planner_.plan(sequences_, options_);
      planned_number_ = plan.number;
    }
    return *attention_;
  }

  models::Transformer& model_;
  kernels::Device& device_;
  kernels::StepRunner& steps_;
  kernels::Operations& operations_;
  const base::Clock& clock_;
  const std::unique_ptr<kernels::KvCache> cache_;
  const kernels::StepProgram program_;
  kernels::PlanOptions options_;
  kernels::AttentionPlanner planner_;
  std::vector<kernels::PlanSequence> sequences_;
  const kernels::AttentionPlan* attention_ = nullptr;  // the planner's last
  std::uint64_t planned_number_ = 0;                   // of the StepPlan that it is for
  kernels::PreparedStep prepared_;
  std::uint64_t prepared_number_ = 0;           // of the StepPlan that prepared_ is for
  std::vector<kernels::SamplingRow> sampling_;  // views of the plan that was submitted
  bool is_drawn_ = false;
  std::int64_t hidden_rows_ = 0;  // of the step that was submitted
  std::vector<float> hidden_;     // of the step that was collected
  StepResult result_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepExecutor>> make_runner(models::Transformer& model, kernels::Backend& backend,
                                                          const Limits& limits, const EngineOptions& options,
                                                          const base::Clock& clock) {
  COPPICE_ASSIGN_OR_RETURN(auto cache,
                           backend.device().make_kv_cache(model.kv_geometry(limits.page_size, limits.pages)));
  const kernels::AttentionParameters& attention = model.attention_parameters();
  COPPICE_ASSIGN_OR_RETURN(const kernels::StepProgram program,
                           backend.steps().reserve({.tokens = limits.step_tokens_max,
                                                    .logits = limits.step_logits_max,
                                                    .sequences = limits.running_max,
                                                    .sequence_tokens = limits.model_tokens_max,
                                                    .page_size = limits.page_size,
                                                    .query_heads = attention.query_heads,
                                                    .key_heads = attention.key_heads,
                                                    .head_dim = attention.head_dim,
                                                    .vocab = model.config().vocab,
                                                    .workers = cache->workers()}));
  return std::make_unique<Runner>(model, backend, limits, options.sharing, std::move(cache), program, clock);
}

}  // namespace coppice::engine
