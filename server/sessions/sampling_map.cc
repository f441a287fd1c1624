// Sampling fields, mapped.
#include "server/sessions/sampling_map.h"

#include <algorithm>
#include <type_traits>

namespace coppice::server {
namespace {

// Temperatures below this divide logits into infinities; vLLM draws the same line.
constexpr double kGreedyBelow = 1e-5;
// top_p = 0 means "only the most likely token", which fills any share as small as this.
constexpr float kTopPMin = 1e-6F;

}  // namespace

base::SamplingNumbers resolve_sampling(const base::SamplingChoices& asked, const base::SamplingChoices& recommended) {
  base::SamplingNumbers out;
  const auto pick = [](const base::SamplingKnob& /*knob*/, const auto& asked_one, const auto& recommended_one,
                       auto& number) {
    if (asked_one || recommended_one) {
      number = static_cast<std::decay_t<decltype(number)>>(asked_one ? *asked_one : *recommended_one);
    }
  };
  base::for_each_sampling_knob(pick, asked, recommended, out);
  if (out.temperature < kGreedyBelow) {
    out.temperature = 0;
  }
  out.top_p = std::max(out.top_p, kTopPMin);
  out.top_k = std::max(out.top_k, 0);
  return out;
}

engine::SamplingParameters map_sampling(const openai::GenerationRequest& request,
                                        const base::SamplingChoices& recommended, std::int32_t max_tokens) {
  const openai::SamplingFields& fields = request.sampling;
  engine::SamplingParameters out;
  static_cast<base::SamplingNumbers&>(out) = resolve_sampling(fields, recommended);
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
    out.top_logprobs = std::max(out.top_logprobs, 0);  // to choose the best by
  }
  out.prompt_logprobs = static_cast<std::int32_t>(request.prompt_logprobs.value_or(-1));
  if (request.echo && request.top_logprobs) {
    out.prompt_logprobs = std::max(out.prompt_logprobs, static_cast<std::int32_t>(*request.top_logprobs));
  }
  return out;
}

}  // namespace coppice::server
