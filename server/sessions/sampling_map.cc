// Sampling fields, mapped.
#include "server/sessions/sampling_map.h"

#include <algorithm>

namespace coppice::server {
namespace {

// Temperatures below this divide logits into infinities; vLLM draws the same line.
constexpr double kGreedyBelow = 1e-5;
// top_p = 0 means "only the most likely token"; the engine wants a positive number.
constexpr double kTopPMin = 1e-6;

float pick(const std::optional<double>& asked, const std::optional<double>& model, double otherwise) {
  return static_cast<float>(asked ? *asked : model.value_or(otherwise));
}

}  // namespace

engine::SamplingParameters map_sampling(const openai::GenerationRequest& request, const SamplingDefaults& defaults,
                                        std::int32_t max_tokens) {
  const openai::SamplingFields& fields = request.sampling;
  engine::SamplingParameters out;
  out.temperature = pick(fields.temperature, defaults.temperature, 1.0);
  if (out.temperature < kGreedyBelow) {
    out.temperature = 0;
  }
  out.top_p = std::max(pick(fields.top_p, defaults.top_p, 1.0), static_cast<float>(kTopPMin));
  out.min_p = pick(fields.min_p, defaults.min_p, 0.0);
  out.top_k =
      static_cast<std::int32_t>(std::max<std::int64_t>(fields.top_k ? *fields.top_k : defaults.top_k.value_or(0), 0));
  out.repetition_penalty = pick(fields.repetition_penalty, defaults.repetition_penalty, 1.0);
  out.presence_penalty = pick(fields.presence_penalty, std::nullopt, 0.0);
  out.frequency_penalty = pick(fields.frequency_penalty, std::nullopt, 0.0);
  out.seed = fields.seed;
  for (const auto& [token, bias] : fields.logit_bias) {
    out.logit_bias.push_back({static_cast<TokenId>(token), static_cast<float>(bias)});
  }
  for (const std::int64_t token : fields.stop_token_ids) {
    out.stop_tokens.push_back(static_cast<TokenId>(token));
  }
  out.max_tokens = max_tokens;
  out.min_tokens = static_cast<std::int32_t>(std::min<std::int64_t>(fields.min_tokens.value_or(0), max_tokens));
  out.ignore_eos = fields.ignore_eos;
  out.top_logprobs = static_cast<std::int32_t>(request.top_logprobs.value_or(-1));
  if (request.best_of.value_or(request.n) > request.n) {
    out.top_logprobs = std::max(out.top_logprobs, 0);  // to tell the best
  }
  out.prompt_logprobs = static_cast<std::int32_t>(request.prompt_logprobs.value_or(-1));
  if (request.echo && request.top_logprobs) {
    out.prompt_logprobs = std::max(out.prompt_logprobs, static_cast<std::int32_t>(*request.top_logprobs));
  }
  return out;
}

}  // namespace coppice::server
