// Request: what the engine is asked to do, as token ids and numbers. Text, templates, stop strings and JSON stay with
// the front end.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/sampling.h"
#include "base/types.h"

namespace coppice::engine {

class ConstraintSource;  // constraint.h
class EventQueue;        // events.h

using RequestId = std::uint64_t;

struct LogitBias {
  TokenId token = 0;
  float bias = 0;
};

// Every field is already validated by the front end against Limits; the engine checks again and refuses with an event.
struct SamplingParameters : base::SamplingNumbers {
  std::optional<std::uint64_t> seed;  // unset: the engine draws one (from its own --seed when given)
  std::vector<LogitBias> logit_bias;
  std::vector<TokenId>
      stop_tokens;  // beside the model's end tokens; the stop token is reported but not part of the text
  std::int32_t max_tokens = 16;
  std::int32_t min_tokens = 0;  // end and stop tokens are not drawn before this many
  bool ignore_eos = false;
  std::int32_t top_logprobs = -1;     // -1: none; 0: the drawn token's; n: also the n most likely
  std::int32_t prompt_logprobs = -1;  // likewise for each prompt token but the first
};

// What a request that generates nothing (max_tokens = 0) asks about each of its branches.
enum class Reading : std::uint8_t {
  kNone,
  kLabels,      // the logprobs of given tokens as the next one
  kLastHidden,  // the final hidden state of the last token
  kMeanHidden,  // the mean of the final hidden states of all tokens
};

// One of the texts that a reading request asks about: Request::prompt, then these tokens.
struct Branch {
  std::vector<TokenId> tokens;
  std::vector<TokenId> labels;  // Reading::kLabels: at least one
};

// A beginning of a prompt that shall stay in the prefix cache.
struct KeepPrefix {
  std::int32_t tokens = 0;  // of them, the whole pages are kept
  std::chrono::steady_clock::duration time{};
};

// What a request does to the prefix cache. It changes when an answer comes, never the answer.
struct CacheUse {
  bool reads = true;                                                     // it may find its prefix there
  std::int32_t write_tokens = std::numeric_limits<std::int32_t>::max();  // leading tokens that it may leave there
  std::vector<KeepPrefix> keeps;  // ascending in tokens, none beyond write_tokens; at most Limits::keeps_max
};

// One prompt, `choices` independent continuations (OpenAI's n; best_of is made of choices by the front end).
// Choice i of a seeded request draws with a seed derived from (seed, i): choice 0 equals the n = 1 answer.
// A reading request has a choice for each branch instead. What its branches have in common is computed once, except
// where a mean needs every row: put it into `prompt`, which may be empty.
struct Request {
  RequestId id = 0;                 // unique among live requests; chosen by the front end
  std::vector<TokenId> prompt;      // at least one token, unless there are branches
  std::vector<TokenId> prediction;  // OpenAI predicted outputs; empty = none
  SamplingParameters sampling;
  std::int32_t choices = 1;
  Reading reading = Reading::kNone;
  std::vector<Branch> branches;                        // of a reading request, one a choice; else empty
  std::shared_ptr<const ConstraintSource> constraint;  // what the output may be; null: anything
  std::int32_t priority = 0;                           // lower runs first, as in vLLM
  std::string tenant;       // cache_salt or API key; prefixes are shared only within one tenant
  std::string account;      // what pays: an API key, whatever salts it uses; "" = the tenant itself
  bool background = false;  // runs on what requests that are not leave, whatever its tenant and priority
  bool pin = false;         // the prompt's whole pages stay in the tenant's prefix cache as long as the engine lives
  CacheUse cache;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::shared_ptr<EventQueue> events;  // where its events go; one queue serves many requests of one I/O thread
};

// The account whose share of service and of places in the queue the request takes.
inline const std::string& account_of(const Request& request) {
  return request.account.empty() ? request.tenant : request.account;
}

// Whether it takes turns with other accounts' requests in the line: background work and low priorities go after those.
inline bool takes_turns(const Request& request) {
  return !request.background && request.priority <= 0;
}

}  // namespace coppice::engine
