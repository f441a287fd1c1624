// `coppice bench serve`: a load generator for any server that speaks OpenAI's HTTP API. This header holds its plain
// data: what to send, how fast, and what was measured. workload.cc makes the requests, load_generator.cc sends them,
// load_report.cc reports the result.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::server {

struct LoadOptions {
  std::string url;  // http://HOST:PORT
  std::string model;
  std::string api_key;            // empty = none
  std::string dataset;            // JSON lines: {"prompt": …} or {"messages": […]}, optional "max_tokens"
  std::string synthetic;          // "shared=2000,unique=50,output=64,groups=1,vocab=0"; see parse_synthetic
  std::int32_t concurrency = 0;   // this many requests in flight; or
  double rate = 0;                // requests a second, Poisson arrivals
  std::int32_t requests = 0;      // 0: the whole dataset once
  std::int32_t max_tokens = 128;  // where the dataset names none
  bool ignore_eos = true;
  std::uint64_t seed = 1;
  double timeout_s = 600;  // for one request
};

// One request: the route and the JSON body to post.
struct LoadRequest {
  std::string target;  // "/v1/completions" or "/v1/chat/completions"
  std::string body;
};

// What one request met. Times in seconds from the moment it was due to be sent.
struct LoadOutcome {
  bool ok = false;
  std::string error;   // one line when not ok
  int status = 0;      // HTTP status, 0 = no answer
  double start_s = 0;  // since the run began
  double first_text_s = 0;
  double end_s = 0;
  std::vector<double> gaps_s;      // between successive events that carry text
  std::int64_t prompt_tokens = 0;  // from the server's usage
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
};

struct LoadResult {
  double wall_s = 0;
  std::vector<LoadOutcome> outcomes;
};

// ERRORS: NotFound, InvalidArgument naming the line or the key.
absl::StatusOr<std::vector<LoadRequest>> make_workload(const LoadOptions& options);

// Sends every request and waits for the answers; `progress(done, total)` after each. Thread: blocks the caller; one I/O
// thread's work.
absl::StatusOr<LoadResult> run_load(const LoadOptions& options, const std::vector<LoadRequest>& requests,
                                    const std::function<void(std::size_t, std::size_t)>& progress);

// Percentiles p50/p90/p99 of time to first token, inter-token time and end-to-end time; token rates; errors.
std::string load_report_json(const LoadOptions& options, const LoadResult& result);
std::string load_report_table(const LoadOptions& options, const LoadResult& result);
// Cumulative distributions of the three times as one picture.
std::string load_report_svg(const LoadResult& result);

}  // namespace coppice::server
