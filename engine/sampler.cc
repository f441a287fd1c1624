// Sampling state per sequence: counts for penalties, end tokens, seeds of choices.
#include "engine/sampler.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace coppice::engine {
namespace {

constexpr std::uint64_t kChoiceStream = 0x63686F69;  // sets choices' seeds apart from every draw's stream

}  // namespace

std::uint64_t choice_seed(std::uint64_t seed, std::int32_t choice) {
  if (choice == 0) {
    return seed;
  }
  const auto words = base::philox4x32(seed, static_cast<std::uint64_t>(choice), kChoiceStream);
  return (static_cast<std::uint64_t>(words[1]) << 32) | words[0];
}

TokenInfo to_token_info(const kernels::SamplingResult& result, bool with_logprob) {
  TokenInfo info;
  info.token = result.token;
  if (with_logprob) {
    info.logprob = result.logprob;
    info.top.reserve(result.top.size());
    for (const kernels::TokenLogprob& top : result.top) {
      info.top.push_back({top.token, top.logprob});
    }
  }
  return info;
}

void Sampler::begin(SequenceSlot slot, const SamplingParameters& parameters, std::uint64_t seed,
                    std::span<const TokenId> prompt) {
  while (states_.size() <= static_cast<std::size_t>(slot)) {
    states_.emplace_back();
  }
  State& state = states_[static_cast<std::size_t>(slot)];
  COPPICE_CHECK(state.parameters == nullptr, "a slot begins once");
  state.parameters = &parameters;
  state.seed = seed;
  state.penalized = parameters.repetition_penalty != 1.0F || parameters.presence_penalty != 0.0F ||
                    parameters.frequency_penalty != 0.0F;
  if (state.penalized) {
    for (const TokenId token : prompt) {
      count(state, token, 0);
    }
  }
  for (const LogitBias& bias : parameters.logit_bias) {
    state.biases.push_back({bias.token, bias.bias});
  }
  state.ends = parameters.stop_tokens;
  if (!parameters.ignore_eos) {
    state.ends.insert(state.ends.end(), eos_.begin(), eos_.end());
  }
}

void Sampler::end(SequenceSlot slot) {
  states_[static_cast<std::size_t>(slot)] = State();
}

void Sampler::observe(SequenceSlot slot, TokenId token) {
  State& state = states_[static_cast<std::size_t>(slot)];
  if (state.penalized) {
    count(state, token, 1);
  }
}

bool Sampler::is_end(SequenceSlot slot, TokenId token) const {
  const std::vector<TokenId>& ends = states_[static_cast<std::size_t>(slot)].ends;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

kernels::SamplingRow Sampler::draw_row(SequenceSlot slot, std::int32_t position, std::int32_t output_index,
                                       std::span<const TokenId> path) {
  const State& state = states_[static_cast<std::size_t>(slot)];
  const SamplingParameters& parameters = *state.parameters;
  kernels::SamplingRow row;
  row.temperature = parameters.temperature;
  row.top_k = parameters.top_k;
  row.top_p = parameters.top_p;
  row.min_p = parameters.min_p;
  row.repetition_penalty = parameters.repetition_penalty;
  row.presence_penalty = parameters.presence_penalty;
  row.frequency_penalty = parameters.frequency_penalty;
  row.seed = state.seed;
  row.position = static_cast<std::uint64_t>(position);
  row.biases = state.biases;
  row.top_logprobs = parameters.top_logprobs;
  if (state.penalized) {
    row.counts = counts_after(state, path);
  }
  if (output_index < parameters.min_tokens) {
    row.forbidden = state.ends;
  }
  return row;
}

kernels::SamplingRow Sampler::score_row(SequenceSlot slot, TokenId token) const {
  kernels::SamplingRow row;
  row.scored = token;
  row.top_logprobs = states_[static_cast<std::size_t>(slot)].parameters->prompt_logprobs;
  return row;
}

void Sampler::count(State& state, TokenId token, std::int32_t output) {
  const auto [entry, fresh] = state.index.try_emplace(token, static_cast<std::int32_t>(state.counts.size()));
  if (fresh) {
    state.counts.push_back({token, output});
  } else {
    state.counts[static_cast<std::size_t>(entry->second)].output_count += output;
  }
}

std::span<const kernels::TokenCount> Sampler::counts_after(const State& state, std::span<const TokenId> path) {
  if (path.empty()) {
    return state.counts;
  }
  if (scratch_used_ == scratch_.size()) {
    scratch_.emplace_back();
  }
  std::vector<kernels::TokenCount>& counts = scratch_[scratch_used_++];
  counts = state.counts;
  for (const TokenId token : path) {
    const auto known = state.index.find(token);
    if (known != state.index.end()) {
      ++counts[static_cast<std::size_t>(known->second)].output_count;
      continue;
    }
    const auto added = std::find_if(counts.begin() + static_cast<std::ptrdiff_t>(state.counts.size()), counts.end(),
                                    [token](const kernels::TokenCount& entry) { return entry.token == token; });
    if (added != counts.end()) {
      ++added->output_count;
    } else {
      counts.push_back({token, 1});
    }
  }
  return counts;
}

}  // namespace coppice::engine
