// Metrics: what the front end counts, and the Prometheus page that shows it together with the engine's numbers, under
// vLLM's names (existing dashboards and routers work unchanged) and our own `coppice:*` ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/stats.h"

namespace coppice::server {

// How a choice ended, as the label `finished_reason`.
enum class FinishLabel : std::uint8_t { kStop, kLength, kAbort, kDeadline, kError };

// Of grammars that answers are held to.
struct GrammarNumbers {
  std::uint64_t hits = 0;  // requests whose grammar was there, or under way
  std::uint64_t compiles = 0;
  std::uint64_t failures = 0;  // of the compiles
  std::uint64_t compile_ns = 0;
  std::size_t cache_bytes = 0;
  std::size_t cached = 0;
};

// What only the server knows at the moment the page is asked for.
struct ServerGauges {
  std::int64_t connections = 0;
  bool ready = false;
  double uptime_s = 0;
  std::int32_t page_size = 0;
  GrammarNumbers grammars = {};
};

// What a request took.
struct RequestTimes {
  double queue_s = 0;    // from its submission to the engine's first step for it
  double prefill_s = 0;  // from then to its first token
  double decode_s = 0;   // from its first token to its last
  double whole_s = 0;    // from its arrival to its last token
  // Between two tokens of a choice, on average; nothing: no choice had two.
  std::optional<double> per_token_s = std::nullopt;
};

// What a request had and asked for.
struct RequestLengths {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t choices = 0;     // 0: none can be asked for
  std::int64_t tokens_max = 0;  // of a choice; likewise
};

// Owner: the app. Thread: any; the counters lock themselves.
class Metrics {
 public:
  explicit Metrics(std::string model_name);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void observe_first_token(double seconds);                       // arrival to first token
  void observe_inter_token(double seconds, std::int64_t tokens);  // `seconds` passed for `tokens` tokens of one choice
  void observe_finished(const RequestTimes& times, const RequestLengths& lengths);  // one request
  void count_finish(FinishLabel label);                                             // one choice
  // One answer. `route` is one of the server's own route names, never text of a client.
  void count_answer(std::string_view front_end, std::string_view route, int status);
  // A request that was turned away before it was queued; `reason`: the error's code.
  void count_rejection(std::string_view reason);
  // A connection that was not served, or no longer, and why: a label of server/net/refusal.h.
  void count_refusal(std::string_view listener, std::string_view reason);

  // The page in Prometheus' text format.
  std::string page(const engine::EngineStats& stats, const ServerGauges& gauges) const;

 private:
  struct Families;
  const std::string model_name_;
  const std::unique_ptr<Families> families_;
};

}  // namespace coppice::server
