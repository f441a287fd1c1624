// The metrics page: every name that dashboards and routers rely on, with the right number behind it.
#include "server/metrics/metrics.h"

#include <catch2/catch.hpp>
#include <string>

namespace coppice::server {
namespace {

// The value of the only sample whose line begins with `name` and holds `labels`.
std::string value_of(const std::string& page, const std::string& name, const std::string& labels = "") {
  std::size_t at = 0;
  while (at < page.size()) {
    const std::size_t end = page.find('\n', at);
    const std::string line = page.substr(at, end - at);
    if (line.starts_with(name + "{") && line.find(labels) != std::string::npos) {
      return line.substr(line.rfind(' ') + 1);
    }
    at = end + 1;
  }
  return "missing";
}

TEST_CASE("every promised name is on the page from the start") {
  const std::string page = Metrics("m").page({}, {});
  for (const char* const name : {"vllm:num_requests_running",
                                 "vllm:num_requests_waiting",
                                 "vllm:kv_cache_usage_perc",
                                 "vllm:prefix_cache_queries_total",
                                 "vllm:prefix_cache_hits_total",
                                 "vllm:prompt_tokens_total",
                                 "vllm:generation_tokens_total",
                                 "vllm:num_preemptions_total",
                                 "vllm:spec_decode_num_drafts_total",
                                 "vllm:spec_decode_num_draft_tokens_total",
                                 "vllm:spec_decode_num_accepted_tokens_total",
                                 "vllm:spec_decode_num_accepted_tokens_per_pos_total",
                                 "vllm:prompt_tokens_cached_total",
                                 "vllm:cache_config_info",
                                 "vllm:request_success_total",
                                 "vllm:time_to_first_token_seconds_bucket",
                                 "vllm:inter_token_latency_seconds_bucket",
                                 "vllm:request_time_per_output_token_seconds_bucket",
                                 "vllm:e2e_request_latency_seconds_bucket",
                                 "vllm:request_queue_time_seconds_bucket",
                                 "vllm:request_prefill_time_seconds_bucket",
                                 "vllm:request_decode_time_seconds_bucket",
                                 "vllm:request_inference_time_seconds_bucket",
                                 "vllm:request_prompt_tokens_bucket",
                                 "vllm:request_generation_tokens_bucket",
                                 "vllm:request_params_n_bucket",
                                 "vllm:request_params_max_tokens_bucket",
                                 "vllm:iteration_tokens_total_bucket",
                                 "coppice:kv_tokens_attended_total",
                                 "coppice:kv_tokens_read_total",
                                 "coppice:tree_depth",
                                 "coppice:shared_groups",
                                 "coppice:draft_budget_tokens",
                                 "coppice:step_seconds_total"}) {
    INFO(name);
    CHECK(value_of(page, name) != "missing");
    CHECK(value_of(page, name, "model_name=\"m\"") != "missing");
  }
}

TEST_CASE("the engine's numbers") {
  engine::EngineStats stats;
  stats.running = 3;
  stats.waiting = 4;
  stats.pages.total = 100;
  stats.pages.free = 50;
  stats.pages.cached = 25;
  stats.prefix_queries = 1000;
  stats.prefix_hits = 900;
  stats.times.plan_ns = 1'500'000'000;
  stats.drafts.drafts = 3;
  stats.drafts.tokens = 7;
  stats.drafts.accepted_at[0] = 3;
  stats.drafts.accepted_at[engine::kDraftPositions - 1] = 2;
  for (const std::int32_t tokens : {1, 8, 9, 16384, 16385}) {
    stats.step_tokens.count(tokens);
  }
  ServerGauges gauges;
  gauges.page_size = 16;
  gauges.ready = true;
  const std::string page = Metrics("m").page(stats, gauges);
  CHECK(value_of(page, "vllm:num_requests_running") == "3");
  CHECK(value_of(page, "vllm:num_requests_waiting") == "4");
  CHECK(value_of(page, "vllm:kv_cache_usage_perc") == "0.25");
  CHECK(value_of(page, "vllm:prefix_cache_queries_total") == "1000");
  CHECK(value_of(page, "vllm:prefix_cache_hits_total") == "900");
  CHECK(value_of(page, "coppice:step_seconds_total", "part=\"plan\"") == "1.5");
  CHECK(value_of(page, "vllm:spec_decode_num_drafts_total") == "3");
  CHECK(value_of(page, "vllm:spec_decode_num_draft_tokens_total") == "7");
  const std::string accepted = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
  CHECK(value_of(page, accepted, "position=\"0\"") == "3");
  CHECK(value_of(page, accepted, "position=\"1\"") == "0");  // all are there from the start, for rates
  CHECK(value_of(page, accepted, "position=\"31\"") == "2");
  CHECK(value_of(page, accepted, "position=\"32\"") == "missing");
  CHECK(value_of(page, "vllm:prompt_tokens_cached_total") == "900");
  const std::string steps = "vllm:iteration_tokens_total_bucket";
  CHECK(value_of(page, steps, "le=\"1\"") == "1");
  CHECK(value_of(page, steps, "le=\"8\"") == "2");
  CHECK(value_of(page, steps, "le=\"16\"") == "3");
  CHECK(value_of(page, steps, "le=\"16384\"") == "4");
  CHECK(value_of(page, steps, "le=\"+Inf\"") == "5");
  CHECK(value_of(page, "vllm:iteration_tokens_total_count") == "5");
  CHECK(value_of(page, "vllm:iteration_tokens_total_sum") == "32787");
  CHECK(value_of(page, "vllm:cache_config_info", "num_gpu_blocks=\"100\"") == "1");
  CHECK(value_of(page, "vllm:cache_config_info", "block_size=\"16\"") == "1");
  CHECK(value_of(page, "coppice:ready") == "1");
}

TEST_CASE("the front end's numbers") {
  Metrics metrics("m");
  metrics.observe_first_token(0.5);
  metrics.observe_inter_token(0.4, 4);
  metrics.observe_finished({.queue_s = 0.25, .prefill_s = 0.5, .decode_s = 1, .whole_s = 2, .per_token_s = 0.0625},
                           {.prompt_tokens = 10, .completion_tokens = 20, .choices = 2, .tokens_max = 30});
  metrics.observe_finished({}, {.prompt_tokens = 5});  // a reading: no choices, no length, nothing between tokens
  metrics.count_finish(FinishLabel::kStop);
  metrics.count_finish(FinishLabel::kStop);
  metrics.count_finish(FinishLabel::kDeadline);
  metrics.count_answer("http", "/v1/completions", 200);
  metrics.count_answer("http", "/v1/completions", 499);
  const std::string page = metrics.page({}, {});
  CHECK(value_of(page, "vllm:time_to_first_token_seconds_count") == "1");
  CHECK(value_of(page, "vllm:inter_token_latency_seconds_count") == "4");
  CHECK(std::stod(value_of(page, "vllm:inter_token_latency_seconds_sum")) == Approx(0.4));
  CHECK(value_of(page, "vllm:e2e_request_latency_seconds_sum") == "2");
  CHECK(value_of(page, "vllm:request_queue_time_seconds_sum") == "0.25");
  CHECK(value_of(page, "vllm:request_prefill_time_seconds_sum") == "0.5");
  CHECK(value_of(page, "vllm:request_decode_time_seconds_sum") == "1");
  CHECK(value_of(page, "vllm:request_inference_time_seconds_sum") == "1.5");
  CHECK(value_of(page, "vllm:request_inference_time_seconds_count") == "2");
  const std::string per_token = "vllm:request_time_per_output_token_seconds";
  CHECK(value_of(page, per_token + "_count") == "1");
  CHECK(value_of(page, per_token + "_sum") == "0.0625");
  CHECK(value_of(page, per_token + "_bucket", "le=\"0.05\"") == "0");
  CHECK(value_of(page, per_token + "_bucket", "le=\"0.075\"") == "1");
  CHECK(value_of(page, "vllm:request_prompt_tokens_sum") == "15");
  CHECK(value_of(page, "vllm:request_params_n_count") == "1");
  CHECK(value_of(page, "vllm:request_params_n_bucket", "le=\"1\"") == "0");
  CHECK(value_of(page, "vllm:request_params_n_bucket", "le=\"2\"") == "1");
  CHECK(value_of(page, "vllm:request_params_max_tokens_sum") == "30");
  CHECK(value_of(page, "vllm:request_success_total", "finished_reason=\"stop\"") == "2");
  CHECK(value_of(page, "vllm:request_success_total", "finished_reason=\"deadline\"") == "1");
  CHECK(value_of(page, "vllm:request_success_total", "finished_reason=\"length\"") == "0");
  CHECK(value_of(page, "coppice:answers_total", "status=\"499\"") == "1");
  // One TYPE line a name: scrapers refuse a page that repeats one.
  for (std::size_t at = page.find("# TYPE"); at != std::string::npos; at = page.find("# TYPE", at + 1)) {
    const std::string line = page.substr(at, page.find('\n', at) - at);
    CHECK(page.find(line + "\n", at + 1) == std::string::npos);
  }
}

}  // namespace
}  // namespace coppice::server
