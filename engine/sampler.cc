// Sampling state per sequence: counts for penalties, end tokens, seeds of choices.
#include "engine/sampler.h"

#include <algorithm>

#include "base/check.h"
#include "base/random.h"

namespace coppice::engine {
namespace {

// Stream of choices' seeds: "choi" in ASCII. Any number will do that no other stream has.
constexpr std::uint64_t kChoiceStream = 0x63686F69;

template <typename T>
PlanRange append(const std::vector<T>& list, std::vector<T>& lists) {
  const PlanRange range{static_cast<std::int32_t>(lists.size()), static_cast<std::int32_t>(list.size())};
  lists.insert(lists.end(), list.begin(), list.end());
  return range;
}

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
                    std::span<const TokenId> prompt, std::span<const TokenId> labels) {
  while (states_.size() <= static_cast<std::size_t>(slot)) {
    states_.emplace_back();
  }
  State& state = states_[static_cast<std::size_t>(slot)];
  COPPICE_CHECK(state.parameters == nullptr, "a slot begins once");
  state.parameters = &parameters;
  state.seed = seed;
  state.labels = labels;
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

StepDraw Sampler::draw(SequenceSlot slot, std::int32_t position, std::int32_t output_index,
                       SamplingLists& lists) const {
  const State& state = states_[static_cast<std::size_t>(slot)];
  const SamplingParameters& parameters = *state.parameters;
  StepDraw draw;
  static_cast<base::SamplingNumbers&>(draw.numbers) = parameters;
  draw.numbers.seed = state.seed;
  draw.numbers.position = static_cast<std::uint64_t>(position);
  draw.numbers.top_logprobs = parameters.top_logprobs;
  if (state.penalized) {
    draw.counts = append_counts(state, {}, lists);
  }
  draw.biases = append(state.biases, lists.biases);
  if (output_index < parameters.min_tokens) {
    draw.forbidden = append(state.ends, lists.forbidden);
  }
  return draw;
}

StepDraw Sampler::draw_after(SequenceSlot slot, const StepDraw& root, std::int32_t output_index,
                             std::span<const TokenId> path, SamplingLists& lists) const {
  const State& state = states_[static_cast<std::size_t>(slot)];
  StepDraw draw = root;
  draw.numbers.position += path.size();
  if (state.penalized) {
    draw.counts = append_counts(state, path, lists);
  }
  if (output_index >= state.parameters->min_tokens) {
    draw.forbidden = {};
  }
  return draw;
}

void Sampler::count_late(SequenceSlot slot, TokenId token, StepDraw& draw, SamplingLists& lists) const {
  const State& state = states_[static_cast<std::size_t>(slot)];
  if (!state.penalized) {
    return;
  }
  const std::int32_t entry = state.index.at(token);
  COPPICE_CHECK(entry <= draw.counts.count, "a draw lacks at most one token");
  draw.counts.count = std::max(draw.counts.count, entry + 1);
  lists.counts[static_cast<std::size_t>(draw.counts.begin + entry)] = state.counts[static_cast<std::size_t>(entry)];
}

StepDraw Sampler::score(SequenceSlot slot, TokenId token) const {
  StepDraw draw;
  draw.numbers.scored = token;
  draw.numbers.top_logprobs = states_[static_cast<std::size_t>(slot)].parameters->prompt_logprobs;
  return draw;
}

StepDraw Sampler::read(SequenceSlot slot, SamplingLists& lists) const {
  const std::span<const TokenId> labels = states_[static_cast<std::size_t>(slot)].labels;
  StepDraw draw;
  draw.numbers.scored = labels.front();  // so that nothing is drawn
  draw.labels = {static_cast<std::int32_t>(lists.labels.size()), static_cast<std::int32_t>(labels.size())};
  lists.labels.insert(lists.labels.end(), labels.begin(), labels.end());
  return draw;
}

void Sampler::count(State& state, TokenId token, std::int32_t output) {
  const auto [entry, fresh] = state.index.try_emplace(token, static_cast<std::int32_t>(state.counts.size()));
  if (fresh) {
    state.counts.push_back({token, output});
  } else {
    state.counts[static_cast<std::size_t>(entry->second)].output_count += output;
  }
}

// The sequence's counts and those of `path`, with one entry to spare behind them for count_late().
PlanRange Sampler::append_counts(const State& state, std::span<const TokenId> path, SamplingLists& lists) {
  PlanRange range = append(state.counts, lists.counts);
  for (const TokenId token : path) {
    const auto known = state.index.find(token);
    if (known != state.index.end()) {
      ++lists.counts[static_cast<std::size_t>(range.begin + known->second)].output_count;
      continue;
    }
    const auto added =
        std::find_if(lists.counts.begin() + range.begin + static_cast<std::ptrdiff_t>(state.counts.size()),
                     lists.counts.end(), [token](const kernels::TokenCount& entry) { return entry.token == token; });
    if (added != lists.counts.end()) {
      ++added->output_count;
    } else {
      lists.counts.push_back({token, 1});
      ++range.count;
    }
  }
  lists.counts.emplace_back();
  return range;
}

}  // namespace coppice::engine
