// ModelHost: what every session needs of the one model this process serves: names, tokenizer, template, limits, engine.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "engine/engine.h"
#include "engine/limits.h"
#include "proto/openai/limits.h"
#include "server/corpora/corpora.h"
#include "server/metrics/metrics.h"
#include "server/model/embedding_defaults.h"
#include "server/model/generation_defaults.h"
#include "server/output/output_rules.h"
#include "server/output/reasoning_constraint.h"
#include "server/prompts/prompt_encoder.h"
#include "server/structured/output_grammars.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// Owner: the app or the batch command, which fill it before the first session; it outlives every session. Immutable
// except for the id counter. Thread: any.
struct ModelHost {
  std::string name;                      // as clients know it, and as answers say
  std::vector<std::string> other_names;  // that clients may use, too
  std::int64_t created_s = 0;            // Unix time of the start
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<ChatPrompter> prompter;             // null: the model has no chat template that can be used
  std::string prompter_problem;                       // why a template cannot be used; empty: there is none
  OutputRules output_rules;                           // how the model writes calls and reasoning
  std::unique_ptr<ReasoningTokens> reasoning_tokens;  // null: it does not reason, or, in tests, is not watched
  std::string tokenizer_info;                         // what GET /tokenizer_info answers: JSON
  engine::Engine* engine = nullptr;                   // owned by the app
  std::unique_ptr<Corpora> corpora;                   // null: speculation is off
  std::unique_ptr<OutputGrammars> grammars;           // null, as in tests: no answer is held to one
  engine::Limits engine_limits;
  openai::RequestLimits request_limits;
  GenerationDefaults defaults;
  EmbeddingDefaults embedding;
  Metrics* metrics = nullptr;                   // owned by the app
  std::chrono::milliseconds request_timeout{};  // 0 = none

  // The encoder of this model's prompts.
  PromptEncoder encoder() const { return {*tokenizer, prompter.get(), request_limits, prompter_problem}; }

  using TimePoint = std::chrono::steady_clock::time_point;
  // By when a request that came at `arrival` must have its answer: what the client says, or --request-timeout,
  // whichever is sooner.
  std::optional<TimePoint> deadline(TimePoint arrival, std::optional<TimePoint> of_client) const;

  // Takes "a,b": the first is `name`. ERRORS: InvalidArgument for an empty one, or one that comes twice.
  absl::Status set_names(std::string_view names);
  // 404 when `model` is neither empty nor a name of the served one.
  openai::MaybeError check_model(const std::string& model) const;

  // `count` consecutive ids, never given out before; returns the first.
  engine::RequestId take_request_ids(std::size_t count) const { return next_request_id_.fetch_add(count); }

 private:
  mutable std::atomic<engine::RequestId> next_request_id_{1};
};

}  // namespace coppice::server
