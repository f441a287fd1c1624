// Running requests on a real model and comparing answers to the bit; see the header.
#include "tests/support/engine_harness.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "engine/runner.h"
#include "engine/speculation/suffix_speculator.h"
#include "kernels/cpu/cpu_backend.h"
#include "models/weights.h"
#include "tests/support/scripted_speculator.h"

namespace coppice::testing {
namespace {

// Rows and logits that any of the tests' limits may ask for.
constexpr models::TransformerLimits kModelLimits{.step_tokens = 512, .step_logits = 128};

HarnessModel load(const models::ModelConfig& config, models::WeightSource& weights,
                  const kernels::ModelFormats& formats, std::unique_ptr<kernels::Backend> backend) {
  HarnessModel model;
  model.backend = std::move(backend);
  if (model.backend == nullptr) {
    auto cpu = kernels::cpu::make_cpu_backend({.threads = 1});  // a team only slows matrices this small
    COPPICE_CHECK(cpu.ok(), "the CPU backend starts");
    model.backend = std::move(*cpu);
  }
  auto transformer = models::Transformer::load(config, weights, *model.backend, formats, kModelLimits, {});
  COPPICE_CHECK(transformer.ok(), "the model loads");
  model.transformer = std::move(*transformer);
  return model;
}

kernels::ModelFormats choose_formats(kernels::ComputeType dtype, std::optional<kernels::KvFormat> kv) {
  kernels::ModelFormats formats = kernels::formats_of(dtype);
  formats.kv = kv.value_or(formats.kv);
  return formats;
}

// Says that a step only begins with submit(), where in truth it is over by then.
class HastyExecutor final : public engine::StepExecutor {
 public:
  explicit HastyExecutor(std::unique_ptr<engine::StepExecutor> executor) : executor_(std::move(executor)) {}
  bool is_asynchronous() const override { return true; }
  void prepare(const engine::StepPlan& plan) override { executor_->prepare(plan); }
  absl::Status submit(const engine::StepPlan& plan) override { return executor_->submit(plan); }
  void draw(const engine::StepPlan& plan) override {
    executor_->draw(plan);
    result_ = executor_->collect();
    COPPICE_CHECK(result_.ok(), "a step on the CPU is not lost");
    drawn_.assign(result_->results.begin(), result_->results.end());
    read_.assign(result_->hidden.begin(), result_->hidden.end());
  }
  absl::StatusOr<engine::StepResult> collect() override {
    results_.swap(drawn_);
    hidden_.swap(read_);
    result_->results = results_;
    result_->hidden = hidden_;
    return result_;
  }

 private:
  const std::unique_ptr<engine::StepExecutor> executor_;
  absl::StatusOr<engine::StepResult> result_;
  std::vector<kernels::SamplingResult> drawn_;
  std::vector<kernels::SamplingResult> results_;
  std::vector<float> read_;
  std::vector<float> hidden_;
};

bool same_float(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

bool same_info(const engine::TokenInfo& a, const engine::TokenInfo& b) {
  return a.token == b.token && same_float(a.logprob, b.logprob) &&
         std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(),
                    [&](const engine::TokenLogprob& x, const engine::TokenLogprob& y) {
                      return x.token == y.token && same_float(x.logprob, y.logprob);
                    });
}

engine::Limits limits_of(const HarnessModel& model, const HarnessOptions& options) {
  engine::Limits limits;
  limits.page_size = options.page_size;
  limits.pages = options.pages;
  limits.model_tokens_max = std::min(options.pages * options.page_size, model.transformer->config().max_positions);
  limits.step_tokens_max = options.step_tokens_max;
  limits.step_logits_max = options.step_logits_max;
  limits.running_max = options.running_max;
  limits.queued_max = 1024;
  limits.chunk_tokens_max = options.chunk_tokens_max;
  return limits;
}

std::unique_ptr<engine::StepExecutor> new_runner(HarnessModel& model, const engine::Limits& limits, bool sharing) {
  engine::EngineOptions options;
  options.sharing = sharing;
  auto runner = engine::make_runner(*model.transformer, *model.backend, limits, options);
  COPPICE_CHECK(runner.ok(), "the runner has memory");
  return std::move(*runner);
}

void take_events(engine::EventQueue& events, HarnessRun& run, std::size_t& unfinished) {
  for (engine::Event& event : events.take()) {
    ChoiceText& text = run.texts[event.request][static_cast<std::size_t>(event.choice)];
    std::move(event.tokens.begin(), event.tokens.end(), std::back_inserter(text.tokens));
    std::move(event.prompt.begin(), event.prompt.end(), std::back_inserter(text.prompt));
    if (event.finish != engine::FinishReason::kNone) {
      text.reading = std::move(event.reading);
      text.finish = event.finish;
      text.error = event.error;
      text.usage = event.usage;
      --unfinished;
    }
  }
}

}  // namespace

HarnessModel random_model(const models::ModelConfig& config, kernels::ComputeType dtype, std::uint64_t seed,
                          std::unique_ptr<kernels::Backend> backend, std::optional<kernels::KvFormat> kv) {
  using kernels::ComputeType;
  const auto weights =
      models::make_random_weights(config, seed, dtype == ComputeType::kF16 ? ComputeType::kBF16 : dtype);
  return load(config, *weights, choose_formats(dtype, kv), std::move(backend));
}

HarnessModel folder_model(const std::string& folder, kernels::ComputeType dtype,
                          std::unique_ptr<kernels::Backend> backend, std::optional<kernels::KvFormat> kv) {
  const auto config = models::load_model_config(folder);
  COPPICE_CHECK(config.ok(), "the folder has a config");
  auto weights = models::open_safetensors_weights(folder, *config);
  COPPICE_CHECK(weights.ok(), "the folder has weights");
  return load(*config, **weights, choose_formats(dtype, kv), std::move(backend));
}

HarnessRun run_requests(HarnessModel& model, const std::vector<engine::Request>& requests,
                        const HarnessOptions& options) {
  const engine::Limits limits = limits_of(model, options);
  engine::EngineOptions engine_options;
  engine_options.prefix_cache = options.prefix_cache;
  engine_options.sharing = options.sharing;
  engine::EngineParts parts;
  parts.executor = new_runner(model, limits, options.sharing);
  if (model.steps_ahead) {
    parts.executor = std::make_unique<HastyExecutor>(std::move(parts.executor));
  }
  if (options.recording != nullptr) {
    parts.executor = std::make_unique<RecordingExecutor>(std::move(parts.executor), *options.recording);
  }
  if (options.drafts) {
    parts.speculator = std::make_unique<ScriptedSpeculator>(9, model.transformer->config().vocab);
  }
  if (options.suffix) {
    parts.speculator = std::make_unique<engine::SuffixSpeculator>(engine::SuffixSpeculatorOptions());
  }
  parts.drafts.nodes_max = 12;
  parts.drafts.takes_all = true;
  parts.check_integrity = true;
  engine::EngineCore core(limits, engine_options, model.transformer->config(), std::move(parts));
  const auto events = std::make_shared<engine::EventQueue>(nullptr);
  HarnessRun run;
  run.texts.resize(requests.size());
  for (std::size_t first = 0; first < requests.size(); first += static_cast<std::size_t>(options.together)) {
    std::size_t unfinished = 0;
    const std::size_t end = std::min(requests.size(), first + static_cast<std::size_t>(options.together));
    for (std::size_t i = first; i < end; ++i) {
      engine::Request request = requests[i];
      request.id = i;
      request.events = events;
      run.texts[i].resize(static_cast<std::size_t>(request.choices));
      unfinished += static_cast<std::size_t>(request.choices);
      COPPICE_CHECK(core.submit(std::move(request)), "the queue is large enough");
    }
    while (unfinished > 0) {
      const bool busy = core.step();
      if (options.after_step) {
        options.after_step();
      }
      take_events(*events, run, unfinished);
      COPPICE_CHECK(busy || unfinished == 0, "an engine with work is not idle");
    }
  }
  run.stats = core.stats();
  return run;
}

std::size_t run_recorded(HarnessModel& model, const HarnessOptions& options, const std::vector<RecordedStep>& steps) {
  const auto runner = new_runner(model, limits_of(model, options), options.sharing);
  return run_again(steps, *runner);
}

bool same_bits(const ChoiceText& a, const ChoiceText& b) {
  return a.finish == b.finish && a.error == b.error &&
         std::equal(a.reading.begin(), a.reading.end(), b.reading.begin(), b.reading.end(), same_float) &&
         std::equal(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end(), same_info) &&
         std::equal(a.prompt.begin(), a.prompt.end(), b.prompt.begin(), b.prompt.end(), same_info);
}

}  // namespace coppice::testing
