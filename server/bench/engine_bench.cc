// Drives an engine step by step on synthetic prompts and sorts what the steps did and took.
#include "server/bench/engine_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "base/random.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/attention_bench.h"
#include "models/weights.h"

namespace coppice::server {
namespace {

using Clock = std::chrono::steady_clock;
using Prompts = std::vector<std::vector<TokenId>>;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// `count` token ids that depend on (seed, stream) alone; the ids below 3 are left to special tokens.
void append_tokens(std::vector<TokenId>& tokens, std::int64_t count, std::int32_t vocab, std::uint64_t seed,
                   std::uint64_t stream) {
  const auto range = static_cast<std::uint32_t>(std::max(1, vocab - 3));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t draw = base::philox4x32(seed, static_cast<std::uint64_t>(i), stream)[0];
    tokens.push_back(static_cast<TokenId>(3 + draw % range));
  }
}

// Every leaf of the tree is one prompt.
absl::StatusOr<Prompts> tree_prompts(const EngineBenchOptions& options, std::int32_t vocab) {
  COPPICE_ASSIGN_OR_RETURN(const kernels::AttentionTree tree, kernels::parse_attention_tree(options.tree));
  Prompts prompts(static_cast<std::size_t>(tree.sequences()));
  for (std::size_t leaf = 0; leaf < prompts.size(); ++leaf) {
    for (std::size_t level = 0; level < tree.nodes.size(); ++level) {
      const std::uint64_t node = leaf * static_cast<std::uint64_t>(tree.nodes[level]) / prompts.size();
      append_tokens(prompts[leaf], tree.tokens[level], vocab, options.seed, ((level + 1) << 32U) + node);
    }
  }
  return prompts;
}

// Streams of the tokens that are one request's own; below them are those of shared prefixes.
constexpr std::uint64_t kOwnStreams = std::uint64_t{1} << 32U;
// Between the streams of one pass and the next: more than there are requests.
constexpr std::uint64_t kPassStreams = std::uint64_t{1} << 24U;

absl::StatusOr<Prompts> make_prompts(const EngineBenchOptions& options, std::int32_t pass, std::int32_t vocab) {
  if (!options.tree.empty()) {
    return tree_prompts(options, vocab);
  }
  if (options.shared_prefix + options.unique_prefix < 1 && options.question.empty()) {
    return absl::InvalidArgumentError("--shared-prefix and --unique-prefix: a prompt has at least one token");
  }
  Prompts prompts(static_cast<std::size_t>(options.requests));
  const std::uint64_t own = kOwnStreams + (options.fresh_prompts ? kPassStreams * static_cast<std::uint64_t>(pass) : 0);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    append_tokens(prompts[i], options.shared_prefix, vocab, options.seed, 1);
    append_tokens(prompts[i], options.unique_prefix, vocab, options.seed, own + i);
    prompts[i].insert(prompts[i].end(), options.question.begin(), options.question.end());
  }
  return prompts;
}

// Sums over the steps of one kind.
struct StepSums {
  double seconds = 0;
  double pass_s = 0;  // of these: computing the pass; on a device with a clock of its own, what that says
  double bound_s = 0;
  std::uint64_t tokens = 0;     // prompt tokens computed, or tokens drawn
  std::uint64_t sequences = 0;  // sequence steps
  std::vector<double> step_ms;
};

// Decode steps that ran as many sequences as there may be: none has ended yet, or others wait.
struct FullSteps {
  std::int32_t sequences = 0;
  double seconds = 0;
  std::uint64_t tokens = 0;
};

// One pass over the prompts.
class Pass {
 public:
  Pass(const EngineBenchOptions& options, LoadedModel& model, engine::Engine& engine,
       const kernels::MachineFigures& machine)
      : options_(options), model_(model), engine_(engine), machine_(machine) {
    const models::ModelConfig& config = model.config;
    head_parameters_ = static_cast<double>(config.vocab) * config.hidden;
    body_parameters_ =
        static_cast<double>(models::parameter_count(config)) - head_parameters_ * (config.tied_embeddings ? 1 : 2);
    kv_bytes_per_token_ = static_cast<double>(model.transformer->kv_geometry(16, 1).bytes_per_token());
  }

  absl::StatusOr<EngineBenchResult> run(const Prompts& prompts, std::uint64_t first_id) {
    first_seen_s_.assign(prompts.size(), -1);
    record_.answers.resize(prompts.size());
    full_.sequences = std::min(static_cast<std::int32_t>(prompts.size()), model_.limits.running_max);
    queue_ = std::make_shared<engine::EventQueue>([] {});
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      if (!engine_.submit(make_request(prompts[i], first_id + i))) {
        return absl::InvalidArgumentError(fmt::format("{} requests do not fit the engine's queue", prompts.size()));
      }
    }
    const engine::EngineStats begin_stats = engine_.stats();
    begin_ = Clock::now();
    engine::EngineStats before = begin_stats;
    Clock::time_point step_begin = begin_;
    while (engine_.step()) {
      const Clock::time_point now = Clock::now();
      const engine::EngineStats after = engine_.stats();
      sort_step(before, after, seconds_between(step_begin, now));
      COPPICE_RETURN_IF_ERROR(take_events(first_id, seconds_between(begin_, now)));
      if (options_.decode_seconds > 0 && decode_.seconds >= options_.decode_seconds && !is_cut_) {
        is_cut_ = true;
        for (std::size_t i = 0; i < prompts.size(); ++i) {
          engine_.cancel(first_id + i, -1);
        }
      }
      before = after;
      step_begin = Clock::now();
    }
    COPPICE_RETURN_IF_ERROR(take_events(first_id, seconds_between(begin_, Clock::now())));
    return summarise(begin_stats, engine_.stats());
  }

 private:
  engine::Request make_request(const std::vector<TokenId>& prompt, std::uint64_t id) const {
    engine::Request request;
    request.id = id;
    request.prompt = prompt;
    request.sampling.temperature = static_cast<float>(options_.temperature);
    request.sampling.seed = options_.seed + id;
    request.sampling.max_tokens = options_.output;
    request.sampling.ignore_eos = options_.constraint == nullptr;
    request.constraint = options_.constraint;
    request.events = queue_;
    return request;
  }

  void sort_step(const engine::EngineStats& before, const engine::EngineStats& after, double seconds) {
    const std::uint64_t prompt = after.prompt_tokens_computed - before.prompt_tokens_computed;
    const std::uint64_t drawn = after.generation_tokens - before.generation_tokens;
    if (prompt + drawn == 0) {
      return;
    }
    StepSums& sums = prompt > 0 ? prefill_ : decode_;
    sums.seconds += seconds;
    const std::uint64_t device_ns = after.times.device_ns - before.times.device_ns;
    const std::uint64_t mask_ns = after.times.mask_ns - before.times.mask_ns;
    const std::uint64_t pass_ns = device_ns > 0 ? device_ns
                                                : after.times.forward_ns - before.times.forward_ns +
                                                      after.times.in_flight_ns - before.times.in_flight_ns - mask_ns;
    if (const std::uint64_t masks = after.constraints.masks - before.constraints.masks; masks > 0) {
      masked_s_ += seconds;
      mask_us_.push_back(static_cast<double>(mask_ns) * 1e-3 / static_cast<double>(masks));
    }
    sums.pass_s += static_cast<double>(pass_ns) * 1e-9;
    sums.tokens += prompt > 0 ? prompt : drawn;
    sums.sequences += static_cast<std::uint64_t>(std::max(after.running, before.running));
    sums.step_ms.push_back(seconds * 1e3);
    if (prompt == 0 && std::min(after.running, before.running) == full_.sequences) {
      full_.seconds += seconds;
      full_.tokens += drawn;
    }
    if (options_.logs_steps && prompt == 0) {
      const engine::LastStep& last = after.last_step;
      record_.steps.push_back(
          {last.rows, last.draft_nodes, drawn, last.expected_ns * 1e-6, last.body_ns * 1e-6, seconds * 1e3});
    }
    // Every row goes through the layers, those that a token is drawn from through the head too; attention comes on top.
    const double rows = static_cast<double>(prompt > 0 ? prompt : drawn);
    const double flops = 2 * (body_parameters_ * rows + head_parameters_ * static_cast<double>(drawn));
    const double keys = options_.attention ? static_cast<double>(after.kv_tokens_read - before.kv_tokens_read) : 0.0;
    const double bytes = static_cast<double>(model_.transformer->bytes_per_step()) + keys * kv_bytes_per_token_;
    sums.bound_s += std::max(bytes / (machine_.read_gb_per_s * 1e9), flops / (peak_gflops() * 1e9));
  }

  absl::Status take_events(std::uint64_t first_id, double now_s) {
    for (const engine::Event& event : queue_->take()) {
      if (event.finish == engine::FinishReason::kError) {
        return absl::InternalError(fmt::format("request {}: {}", event.request - first_id, event.error));
      }
      std::vector<TokenId>& answer = record_.answers[event.request - first_id];
      std::transform(event.tokens.begin(), event.tokens.end(), std::back_inserter(answer),
                     [](const engine::TokenInfo& info) { return info.token; });
      double& first_s = first_seen_s_[event.request - first_id];
      complete_ += event.finish == engine::FinishReason::kStop ? 1 : 0;
      if (first_s < 0 && !event.tokens.empty()) {
        first_s = now_s;
      }
    }
    return absl::OkStatus();
  }

  EngineBenchResult summarise(const engine::EngineStats& begin, const engine::EngineStats& end) {
    EngineBenchResult result;
    result.wall_s = seconds_between(begin_, Clock::now());
    const auto rate = [](const StepSums& sums) {
      return sums.seconds > 0 ? static_cast<double>(sums.tokens) / sums.seconds : 0.0;
    };
    result.prefill_tokens_per_s = rate(prefill_);
    result.decode_tokens_per_s = rate(decode_);
    result.full_tokens_per_s = full_.seconds > 0 ? static_cast<double>(full_.tokens) / full_.seconds : 0.0;
    result.output_tokens_per_s = static_cast<double>(end.generation_tokens - begin.generation_tokens) / result.wall_s;
    std::sort(first_seen_s_.begin(), first_seen_s_.end());
    result.ttft_ms_p50 = first_seen_s_[first_seen_s_.size() / 2] * 1e3;
    std::sort(decode_.step_ms.begin(), decode_.step_ms.end());
    if (!decode_.step_ms.empty()) {
      result.step_ms_p50 = decode_.step_ms[decode_.step_ms.size() / 2];
      result.step_ms_p99 = decode_.step_ms[decode_.step_ms.size() * 99 / 100];
    }
    result.decode_steps = static_cast<std::int64_t>(decode_.step_ms.size());
    result.host_share = decode_.seconds > 0 ? 1 - decode_.pass_s / decode_.seconds : 0.0;
    result.kv_tokens_attended = end.kv_tokens_attended - begin.kv_tokens_attended;
    result.kv_tokens_read = end.kv_tokens_read - begin.kv_tokens_read;
    result.prompt_tokens_computed = end.prompt_tokens_computed - begin.prompt_tokens_computed;
    result.drafts.accepted_per_step =
        decode_.sequences > 0 ? static_cast<double>(decode_.tokens) / static_cast<double>(decode_.sequences) : 0.0;
    result.drafts.draft_tokens = end.drafts.tokens - begin.drafts.tokens;
    result.drafts.accepted_tokens = end.drafts.accepted - begin.drafts.accepted;
    result.drafts.speculation_share =
        static_cast<double>(end.times.speculation_ns - begin.times.speculation_ns) * 1e-9 / result.wall_s;
    result.constraint = constraint_figures(begin, end);
    result.record = std::move(record_);
    result.roofline = decode_.seconds > 0 ? decode_.bound_s / decode_.seconds : 0.0;
    result.prefill_roofline = prefill_.seconds > 0 ? prefill_.bound_s / prefill_.seconds : 0.0;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    result.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
    return result;
  }

  // Of products with the model's weights. Dense ones have at least 16 bits a number.
  double peak_gflops() const {
    const double bits = 8 * static_cast<double>(model_.transformer->bytes_per_step()) /
                        std::max(1.0, body_parameters_ + head_parameters_);
    return machine_.product_gflops(model_.transformer->formats().compute, bits < 16);
  }

  ConstraintFigures constraint_figures(const engine::EngineStats& begin, const engine::EngineStats& end) {
    ConstraintFigures figures;
    figures.complete = complete_;
    figures.tokens = end.generation_tokens - begin.generation_tokens;
    figures.masks = end.constraints.masks - begin.constraints.masks;
    figures.forced_drafted = end.constraints.forced_drafted - begin.constraints.forced_drafted;
    figures.forced_accepted = end.constraints.forced_accepted - begin.constraints.forced_accepted;
    std::sort(mask_us_.begin(), mask_us_.end());
    if (!mask_us_.empty()) {
      figures.mask_us_p50 = mask_us_[mask_us_.size() / 2];
      figures.mask_us_p99 = mask_us_[mask_us_.size() * 99 / 100];
      figures.mask_share = static_cast<double>(end.times.mask_ns - begin.times.mask_ns) * 1e-9 / masked_s_;
    }
    return figures;
  }

  const EngineBenchOptions& options_;
  LoadedModel& model_;
  engine::Engine& engine_;
  const kernels::MachineFigures& machine_;
  double body_parameters_ = 0;     // in the layers: what every token is multiplied with
  double head_parameters_ = 0;     // in the head: what a token is drawn with
  double kv_bytes_per_token_ = 0;  // all layers
  std::shared_ptr<engine::EventQueue> queue_;
  Clock::time_point begin_;
  std::vector<double> first_seen_s_;
  PassRecord record_;
  bool is_cut_ = false;
  std::int64_t complete_ = 0;    // answers
  std::vector<double> mask_us_;  // of a mask, by step
  double masked_s_ = 0;          // steps that made masks
  FullSteps full_;
  StepSums prefill_;
  StepSums decode_;
};

}  // namespace

absl::StatusOr<EngineBenchResult> run_engine_pass(const EngineBenchOptions& options, std::int32_t pass,
                                                  LoadedModel& model, engine::Engine& engine,
                                                  const kernels::MachineFigures& machine) {
  COPPICE_ASSIGN_OR_RETURN(const Prompts prompts, make_prompts(options, pass, model.config.vocab));
  const kernels::OperationTimes before = model.backend->operations().times();
  COPPICE_ASSIGN_OR_RETURN(EngineBenchResult result,
                           Pass(options, model, engine, machine)
                               .run(prompts, options.first_id + static_cast<std::uint64_t>(pass) * prompts.size()));
  const kernels::OperationTimes after = model.backend->operations().times();
  const double forward_ns = static_cast<double>(after.forward_ns() - before.forward_ns());
  const bool is_told = !model.backend->steps().is_asynchronous();  // else these are the times of launches
  result.attention_share =
      is_told && forward_ns > 0 ? static_cast<double>(after.attention_ns - before.attention_ns) / forward_ns : 0.0;
  return result;
}

absl::StatusOr<EngineBenchResult> run_engine_bench(const EngineBenchOptions& options, LoadedModel& model,
                                                   const kernels::MachineFigures& machine) {
  EngineBenchResult result;
  for (std::int32_t pass = 0; pass < options.repeat; ++pass) {
    COPPICE_ASSIGN_OR_RETURN(result, run_engine_pass(options, pass, model, *model.engine, machine));
  }
  return result;
}

}  // namespace coppice::server
