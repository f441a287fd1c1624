// How likely a model finds a text: the exact log-likelihood of its tokens, as prompt logprobs of the engine that
// serves. The text is cut into windows that do not overlap; a token is scored given those before it in its window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "engine/engine.h"

namespace coppice::server {

struct ScoreOptions {
  // Tokens of a window. llama.cpp's perplexity has 512 by default.
  std::int32_t window = 512;
  // Stands before each window and counts in it, so that every token of the text is scored. Without it the first token
  // of each window is not, as in Hugging Face's guide to the perplexity of models of fixed length.
  std::optional<TokenId> bos;
};

struct TextScore {
  std::int64_t windows = 0;
  std::int64_t tokens = 0;    // scored
  double log_likelihood = 0;  // natural logarithms, summed over them

  double perplexity() const;  // REQUIRES: tokens > 0
};

// Runs the windows through the engine, a few at a time; the sum does not depend on how they meet. `progress`: windows
// done, windows in all. REQUIRES: an idle engine whose context and KV memory hold a window. ERRORS: InvalidArgument for
// a window without room and for a text without a token to score; what the engine refuses; Internal when a step fails or
// the model's numbers are not finite.
absl::StatusOr<TextScore> score_tokens(engine::Engine& engine, std::span<const TokenId> text,
                                       const ScoreOptions& options,
                                       const std::function<void(std::size_t, std::size_t)>& progress);

// Windows that are in the engine at once: enough that a step's rows are full where one window ends and another begins.
inline constexpr std::int32_t kScoreTogether = 4;

}  // namespace coppice::server
