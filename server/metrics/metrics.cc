// Histograms and counters of the front end live in a prometheus registry; the engine's own numbers are turned into
// families at the moment of a scrape, so that nothing is counted twice.
#include "server/metrics/metrics.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <limits>
#include <span>
#include <sstream>
#include <vector>

namespace coppice::server {
namespace {

// vLLM numbers the engines of a process; there is one.
constexpr const char* kEngine = "0";

using Buckets = prometheus::Histogram::BucketBoundaries;

// vLLM's buckets, with finer ones below for small models.
const Buckets& first_token_buckets() {
  static const Buckets buckets = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
                                  0.75,   1.0,   2.5,    5.0,   7.5,  10.0, 20.0, 40.0, 80.0, 160, 640,  2560};
  return buckets;
}

const Buckets& inter_token_buckets() {
  static const Buckets buckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                  0.075,  0.1,     0.15,   0.2,   0.3,    0.4,   0.5,  0.75,  1.0,
                                  2.5,    5.0,     7.5,    10.0,  20.0,   40.0,  80.0};
  return buckets;
}

const Buckets& request_buckets() {
  static const Buckets buckets = {0.001, 0.005, 0.01, 0.025, 0.05,  0.1,   0.3,   0.5,    0.8,
                                  1.0,   1.5,   2.0,  2.5,   5.0,   10.0,  15.0,  20.0,   30.,
                                  40.0,  50.0,  60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
  return buckets;
}

const Buckets& token_count_buckets() {
  static const Buckets buckets = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5, 2e5};
  return buckets;
}

const Buckets& choice_count_buckets() {
  static const Buckets buckets = {1, 2, 5, 10, 20};
  return buckets;
}

const char* finish_label(FinishLabel label) {
  constexpr std::array<const char*, 5> kNames = {"stop", "length", "abort", "deadline", "error"};
  return kNames[static_cast<std::size_t>(label)];
}

// Collects families built from plain numbers at scrape time.
class Page {
 public:
  explicit Page(std::string model_name) : model_name_(std::move(model_name)) {}

  void gauge(const char* name, const char* help, double value) {
    add(name, help, prometheus::MetricType::Gauge, value, {});
  }
  void gauge_of(const char* name, const char* help, prometheus::ClientMetric::Label label, double value) {
    add(name, help, prometheus::MetricType::Gauge, value, {std::move(label)});
  }
  void counter(const char* name, const char* help, std::uint64_t value) {
    add(name, help, prometheus::MetricType::Counter, static_cast<double>(value), {});
  }
  void counter_of(const char* name, const char* help, double value) {
    add(name, help, prometheus::MetricType::Counter, value, {});
  }
  void counter_at(const char* name, const char* help, std::size_t position, std::uint64_t value) {
    add(name, help, prometheus::MetricType::Counter, static_cast<double>(value),
        {{"position", fmt::format("{}", position)}});
  }
  void counter_seconds(const char* name, const char* help, const char* part, std::uint64_t nanoseconds) {
    add(name, help, prometheus::MetricType::Counter, static_cast<double>(nanoseconds) * 1e-9, {{"part", part}});
  }
  // `counts`: of each bucket alone, the last one without a bound.
  void histogram(const char* name, const char* help, std::span<const std::int32_t> bounds,
                 std::span<const std::uint64_t> counts, std::uint64_t sum) {
    prometheus::ClientMetric::Histogram& out = start(name, help, prometheus::MetricType::Histogram, {}).histogram;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      out.sample_count += counts[i];
      out.bucket.push_back({out.sample_count, i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity()});
    }
    out.sample_sum = static_cast<double>(sum);
  }
  void info(const char* name, const char* help, std::vector<prometheus::ClientMetric::Label> labels) {
    add(name, help, prometheus::MetricType::Gauge, 1.0, std::move(labels));
  }

  void append_to(std::vector<prometheus::MetricFamily>& all) {
    for (prometheus::MetricFamily& family : families_) {
      all.push_back(std::move(family));
    }
  }

 private:
  void add(const char* name, const char* help, prometheus::MetricType type, double value,
           std::vector<prometheus::ClientMetric::Label> labels) {
    prometheus::ClientMetric& metric = start(name, help, type, std::move(labels));
    if (type == prometheus::MetricType::Gauge) {
      metric.gauge.value = value;
    } else {
      metric.counter.value = value;
    }
  }

  // A new sample, of the last family or of a new one. ENSURES: it is good until the next one.
  prometheus::ClientMetric& start(const char* name, const char* help, prometheus::MetricType type,
                                  std::vector<prometheus::ClientMetric::Label> labels) {
    if (families_.empty() || families_.back().name != name) {
      families_.push_back({name, help, type, {}});
    }
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    if (std::string_view(name).starts_with("vllm:")) {
      metric.label.push_back({"engine", kEngine});
    }
    metric.label.push_back({"model_name", model_name_});
    families_.back().metric.push_back(std::move(metric));
    return families_.back().metric.back();
  }

  const std::string model_name_;
  std::vector<prometheus::MetricFamily> families_;
};

void add_vllm_metrics(const engine::EngineStats& stats, const ServerGauges& gauges, Page& page) {
  page.gauge("vllm:num_requests_running", "Sequences in the running batch", stats.running);
  page.gauge("vllm:num_requests_waiting", "Sequences waiting to run", stats.waiting);
  constexpr const char* kReason = "reason";
  constexpr const char* kByReason = "vllm:num_requests_waiting_by_reason";
  constexpr const char* kByReasonHelp = "Sequences waiting for room, or for another one to compute their prefix";
  page.gauge_of(kByReason, kByReasonHelp, {kReason, "capacity"}, stats.waiting - stats.queue.deferred);
  page.gauge_of(kByReason, kByReasonHelp, {kReason, "deferred"}, stats.queue.deferred);
  const double used = stats.pages.total - stats.pages.free - stats.pages.cached;
  page.gauge("vllm:kv_cache_usage_perc", "Share of the KV pages owned by sequences, 0 to 1",
             stats.pages.total > 0 ? used / stats.pages.total : 0.0);
  page.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache", stats.prefix_queries);
  page.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache", stats.prefix_hits);
  page.counter("vllm:prompt_tokens_cached_total", "Prompt tokens of admitted requests that were cached",
               stats.prefix_hits);
  page.counter("vllm:prompt_tokens_total", "Prompt tokens of admitted requests", stats.prompt_tokens);
  page.counter("vllm:generation_tokens_total", "Generated tokens", stats.generation_tokens);
  page.counter("vllm:num_preemptions_total", "Sequences sent back to wait for lack of KV pages", stats.preemptions);
  page.histogram("vllm:iteration_tokens_total", "Tokens computed by each engine step", engine::kStepTokenBounds,
                 stats.step_tokens.steps, stats.step_tokens.tokens);
  page.counter("vllm:spec_decode_num_drafts_total", "Drafts verified, one a sequence and step", stats.drafts.drafts);
  page.counter("vllm:spec_decode_num_draft_tokens_total", "Tokens drafted", stats.drafts.tokens);
  page.counter("vllm:spec_decode_num_accepted_tokens_total", "Drafted tokens accepted", stats.drafts.accepted);
  for (std::size_t position = 0; position < stats.drafts.accepted_at.size(); ++position) {
    page.counter_at("vllm:spec_decode_num_accepted_tokens_per_pos_total",
                    "Drafted tokens accepted, by their position in the draft; the last one has all beyond it, too",
                    position, stats.drafts.accepted_at[position]);
  }
  page.counter("coppice:broken_logits_total", "Answers ended because the model's logits were not numbers",
               stats.broken_logits);
  page.info(
      "vllm:cache_config_info", "Size of the KV cache",
      {{"block_size", fmt::format("{}", gauges.page_size)}, {"num_gpu_blocks", fmt::format("{}", stats.pages.total)}});
}

void add_own_metrics(const engine::EngineStats& stats, const ServerGauges& gauges, Page& page) {
  page.counter("coppice:engine_steps_total", "Engine steps", stats.steps);
  page.counter("coppice:prompt_tokens_computed_total", "Prompt tokens that were not cached",
               stats.prompt_tokens_computed);
  page.counter("coppice:constraint_masks_total", "Draws that a constraint limited", stats.constraints.masks);
  page.counter("coppice:constraint_forced_tokens_total", "Draft tokens that a constraint forced",
               stats.constraints.forced_drafted);
  page.counter("coppice:constraint_forced_accepted_total", "Of these, accepted", stats.constraints.forced_accepted);
  page.counter("coppice:constraint_failures_total", "Answers ended because their constraint failed",
               stats.constraints.failed);
  page.counter("coppice:kv_tokens_attended_total", "Keys attended, summed over rows", stats.kv_tokens_attended);
  page.counter("coppice:kv_tokens_read_total", "Keys read: less than attended by what sharing saves",
               stats.kv_tokens_read);
  page.gauge("coppice:waits_for_kv", "1 when the next sequence waits for KV pages, not for a place in the batch",
             stats.queue.is_short_of_pages ? 1.0 : 0.0);
  page.gauge("coppice:queue_wait_seconds", "Until a new account's request would run, as things go; 0: at once",
             static_cast<double>(stats.queue.wait_ms) * 1e-3);
  page.gauge("coppice:tree_depth", "Depth of the shared-prefix tree of the last step", stats.last_step.tree_depth);
  page.gauge("coppice:shared_groups", "Groups of sequences that shared keys in the last step",
             stats.last_step.shared_groups);
  page.gauge("coppice:draft_budget_tokens", "Tokens allowed for drafts in the last step", stats.last_step.draft_nodes);
  page.gauge("coppice:kv_pages_free", "KV pages neither owned nor cached", stats.pages.free);
  page.gauge("coppice:kv_pages_cached", "KV pages held by the prefix cache alone", stats.pages.cached);
  page.gauge("coppice:kv_pages_pinned", "KV pages held for pinned prompts (--pin-file)", stats.pages.pinned);
  page.gauge("coppice:kv_pages_kept", "KV pages of prefixes that requests asked to keep, as of the last step",
             stats.pages.kept);
  constexpr const char* kStep = "coppice:step_seconds_total";
  constexpr const char* kStepHelp = "Time of engine steps by part";
  page.counter_seconds(kStep, kStepHelp, "plan", stats.times.plan_ns);
  page.counter_seconds(kStep, kStepHelp, "speculation", stats.times.speculation_ns);
  page.counter_seconds(kStep, kStepHelp, "mask", stats.times.mask_ns);
  page.counter_seconds(kStep, kStepHelp, "forward", stats.times.forward_ns);
  page.counter_seconds(kStep, kStepHelp, "sample", stats.times.sample_ns);
  page.counter_seconds(kStep, kStepHelp, "other", stats.times.other_ns);
  page.gauge("coppice:http_connections", "Open HTTP connections", static_cast<double>(gauges.connections));
  page.gauge("coppice:ready", "1 when requests are accepted", gauges.ready ? 1.0 : 0.0);
  page.gauge("coppice:uptime_seconds", "Seconds since start", gauges.uptime_s);
}

void add_grammar_metrics(const GrammarNumbers& grammars, Page& page) {
  page.counter("coppice:grammar_cache_hits_total", "Requests whose grammar was kept, or being compiled", grammars.hits);
  page.counter("coppice:grammar_compiles_total", "Grammars compiled, refused ones too", grammars.compiles);
  page.counter("coppice:grammar_failures_total", "Grammars refused", grammars.failures);
  page.counter_of("coppice:grammar_compile_seconds_total", "Time of compiling grammars",
                  static_cast<double>(grammars.compile_ns) * 1e-9);
  page.gauge("coppice:grammar_cache_bytes", "Memory of the grammars kept (--grammar-memory)",
             static_cast<double>(grammars.cache_bytes));
  page.gauge("coppice:grammars_cached", "Grammars kept", static_cast<double>(grammars.cached));
}

}  // namespace

struct Metrics::Families {
  explicit Families(const std::string& model_name) : labels({{"engine", kEngine}, {"model_name", model_name}}) {}

  // The labels of one of vLLM's counters.
  prometheus::Labels labels_of(const char* name, std::string_view value) const {
    prometheus::Labels all = labels;
    all.emplace(name, value);
    return all;
  }

  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, buckets);
  }

  const prometheus::Labels labels;
  prometheus::Registry registry;
  prometheus::Histogram& first_token =
      histogram("vllm:time_to_first_token_seconds", "Arrival to first token", first_token_buckets());
  prometheus::Histogram& inter_token =
      histogram("vllm:inter_token_latency_seconds", "Between tokens of one choice", inter_token_buckets());
  prometheus::Histogram& per_token = histogram(
      "vllm:request_time_per_output_token_seconds",
      "Between tokens of one choice, the mean of each finished request with two or more", inter_token_buckets());
  prometheus::Histogram& end =
      histogram("vllm:e2e_request_latency_seconds", "Arrival to last token", request_buckets());
  prometheus::Histogram& queue =
      histogram("vllm:request_queue_time_seconds", "Submission to the first step", request_buckets());
  prometheus::Histogram& prefill =
      histogram("vllm:request_prefill_time_seconds", "First step to first token", request_buckets());
  prometheus::Histogram& decode =
      histogram("vllm:request_decode_time_seconds", "First token to last token", request_buckets());
  prometheus::Histogram& inference =
      histogram("vllm:request_inference_time_seconds", "First step to last token", request_buckets());
  prometheus::Histogram& choices =
      histogram("vllm:request_params_n", "Choices that finished requests asked for", choice_count_buckets());
  prometheus::Histogram& tokens_max =
      histogram("vllm:request_params_max_tokens", "Tokens that a choice of finished requests might have at most",
                token_count_buckets());
  prometheus::Histogram& prompt_tokens =
      histogram("vllm:request_prompt_tokens", "Prompt tokens of finished requests", token_count_buckets());
  prometheus::Histogram& generation_tokens =
      histogram("vllm:request_generation_tokens", "Generated tokens of finished requests", token_count_buckets());
  prometheus::Family<prometheus::Counter>& finished = prometheus::BuildCounter()
                                                          .Name("vllm:request_success_total")
                                                          .Help("Finished choices by reason")
                                                          .Register(registry);
  prometheus::Family<prometheus::Counter>& rejected =
      prometheus::BuildCounter()
          .Name("vllm:admission_rejections_total")
          .Help("Requests turned away before they were queued, by the code of the error they got")
          .Register(registry);
  prometheus::Family<prometheus::Counter>& answers = prometheus::BuildCounter()
                                                         .Name("coppice:answers_total")
                                                         .Help("Answers by front end, route and status")
                                                         .Register(registry);
  prometheus::Family<prometheus::Counter>& refusals = prometheus::BuildCounter()
                                                          .Name("coppice:connections_refused_total")
                                                          .Help("Connections refused or cut off, by reason")
                                                          .Register(registry);
};

Metrics::Metrics(std::string model_name)
    : model_name_(std::move(model_name)), families_(std::make_unique<Families>(model_name_)) {
  for (const FinishLabel label :
       {FinishLabel::kStop, FinishLabel::kLength, FinishLabel::kAbort, FinishLabel::kDeadline, FinishLabel::kError}) {
    families_->finished.Add(families_->labels_of("finished_reason", finish_label(label)));  // 0 is shown
  }
  for (const char* const reason : {"queue_full", "kv_full", "deadline_unreachable", "starting", "draining"}) {
    families_->rejected.Add(families_->labels_of("reason", reason));
  }
}

Metrics::~Metrics() = default;

void Metrics::observe_first_token(double seconds) {
  families_->first_token.Observe(seconds);
}

void Metrics::observe_inter_token(double seconds, std::int64_t tokens) {
  for (std::int64_t i = 0; i < tokens; ++i) {
    families_->inter_token.Observe(seconds / static_cast<double>(tokens));
  }
}

void Metrics::observe_finished(const RequestTimes& times, const RequestLengths& lengths) {
  families_->end.Observe(times.whole_s);
  families_->queue.Observe(times.queue_s);
  families_->prefill.Observe(times.prefill_s);
  families_->decode.Observe(times.decode_s);
  families_->inference.Observe(times.prefill_s + times.decode_s);
  if (times.per_token_s) {
    families_->per_token.Observe(*times.per_token_s);
  }
  families_->prompt_tokens.Observe(static_cast<double>(lengths.prompt_tokens));
  families_->generation_tokens.Observe(static_cast<double>(lengths.completion_tokens));
  if (lengths.choices > 0) {
    families_->choices.Observe(static_cast<double>(lengths.choices));
  }
  if (lengths.tokens_max > 0) {
    families_->tokens_max.Observe(static_cast<double>(lengths.tokens_max));
  }
}

void Metrics::count_finish(FinishLabel label) {
  families_->finished.Add(families_->labels_of("finished_reason", finish_label(label))).Increment();
}

void Metrics::count_answer(std::string_view front_end, std::string_view route, int status) {
  families_->answers
      .Add({{"door", std::string(front_end)}, {"route", std::string(route)}, {"status", fmt::format("{}", status)}})
      .Increment();
}

void Metrics::count_rejection(std::string_view reason) {
  families_->rejected.Add(families_->labels_of("reason", reason)).Increment();
}

void Metrics::count_refusal(std::string_view listener, std::string_view reason) {
  families_->refusals.Add({{"listener", std::string(listener)}, {"reason", std::string(reason)}}).Increment();
}

std::string Metrics::page(const engine::EngineStats& stats, const ServerGauges& gauges) const {
  Page engine_page(model_name_);
  add_vllm_metrics(stats, gauges, engine_page);
  add_own_metrics(stats, gauges, engine_page);
  add_grammar_metrics(gauges.grammars, engine_page);
  std::vector<prometheus::MetricFamily> all;
  engine_page.append_to(all);
  for (prometheus::MetricFamily& family : families_->registry.Collect()) {
    all.push_back(std::move(family));
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, all);
  return out.str();
}

}  // namespace coppice::server
