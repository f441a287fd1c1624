// `coppice bench serve`: a load generator for any server that speaks OpenAI's HTTP API. This header holds its plain
// data: what to send, how fast, and what was measured. workload.cc makes the requests, load_generator.cc sends them,
// load_report.cc reports the result and load_plot.cc draws it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::server {

// A recorded workload and how it is played (trace.h). A text's tokens are not known: four bytes count as one.
struct TraceOptions {
  std::string path;             // a file, or a folder of such files; empty = no trace
  double speed = 1;             // the trace's times are divided by it
  std::int64_t prompt_max = 0;  // tokens that are kept of a longer prompt's beginning; 0 = all
  std::int64_t output_max = 0;  // tokens, likewise
  std::int64_t vocab = 0;       // > 0: prompts recorded as counts are token ids drawn from [3, vocab); else words
};

// What a request must keep to count as goodput, in milliseconds; 0 = not asked for.
struct LatencyGoal {
  double ttft_ms = 0;  // to the first text
  double itl_ms = 0;   // the mean from token to token after it
};

struct LoadOptions {
  std::string url;  // http://HOST:PORT
  std::string model;
  std::string api_key;            // empty = none
  std::string dataset;            // JSON lines: {"prompt": …} or {"messages": […]}, optional "max_tokens"
  std::string synthetic;          // "shared=2000,unique=50,output=64,groups=1,vocab=0"; see parse_synthetic
  TraceOptions trace;             // open loop at the trace's own times where neither concurrency nor rate is given
  std::int32_t concurrency = 0;   // this many requests in flight; or
  double rate = 0;                // requests a second, Poisson arrivals
  std::int32_t requests = 0;      // 0: the whole dataset once
  std::int32_t max_tokens = 128;  // where the dataset names none
  bool ignore_eos = true;
  std::uint64_t seed = 1;
  double timeout_s = 600;  // for one request
  LatencyGoal goal;
};

// One request: the route, the JSON body to post, and of a trace's when and for whom.
struct LoadRequest {
  std::string target;  // "/v1/completions" or "/v1/chat/completions"
  std::string body;
  double due_s = 0;       // since the run begins
  std::string session{};  // empty = none is known
};

// What one request met. Times in seconds from the moment it was due to be sent.
struct LoadOutcome {
  bool ok = false;
  std::string error;   // one line when not ok
  int status = 0;      // HTTP status, 0 = no answer
  double start_s = 0;  // when it was due, since the run began
  double late_s = 0;   // the load generator's own delay, which the times below include
  double first_text_s = 0;
  double end_s = 0;
  std::vector<double> gaps_s;      // between successive events that carry text
  std::int64_t prompt_tokens = 0;  // from the server's usage
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
};

struct LoadResult {
  double wall_s = 0;
  std::size_t sessions = 0;  // different ones among the requests
  std::vector<LoadOutcome> outcomes;
};

// ERRORS: NotFound, InvalidArgument naming the line or the key.
absl::StatusOr<std::vector<LoadRequest>> make_workload(const LoadOptions& options);

// Sends every request and waits for the answers; `progress(done, total)` after each. Thread: blocks the caller; one I/O
// thread's work.
absl::StatusOr<LoadResult> run_load(const LoadOptions& options, const std::vector<LoadRequest>& requests,
                                    const std::function<void(std::size_t, std::size_t)>& progress);

// "ttft=MS,itl=MS", one or both. ERRORS: InvalidArgument naming the part.
absl::StatusOr<LatencyGoal> parse_latency_goal(const std::string& spec);

// Percentiles p50/p90/p99 of time to first token, inter-token time and end-to-end time; token rates; errors.
std::string load_report_json(const LoadOptions& options, const LoadResult& result);
std::string load_report_table(const LoadOptions& options, const LoadResult& result);
// One picture: the cumulative distributions of the three times, and each request's times over the run.
std::string load_report_svg(const LoadOptions& options, const LoadResult& result);

}  // namespace coppice::server
