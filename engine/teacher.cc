// In which order and portions the speculator gets tokens.
#include "engine/teacher.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace coppice::engine {

std::int32_t Teacher::predicted_count(const Sequence& sequence) const {
  return static_cast<std::int32_t>(requests_[sequence.request].request.prediction.size());
}

std::int32_t Teacher::untaught(const Sequence& sequence) const {
  return predicted_count(sequence) + sequence.known_count() - sequence.drafting.taught;
}

std::int32_t Teacher::teach(Sequence& sequence, std::int32_t tokens_max) {
  const std::vector<TokenId>& prediction = requests_[sequence.request].request.prediction;
  const std::int32_t predicted = predicted_count(sequence);
  std::int32_t& taught = sequence.drafting.taught;
  std::int32_t left = tokens_max;
  // The part of `all` from `begin` to `end`.
  const auto hand_over = [&](TokenSource source, std::span<const TokenId> all, std::int32_t begin, std::int32_t end) {
    const std::int32_t count = std::min(end - begin, left);
    if (count > 0) {
      speculator_.observe(sequence.slot, source,
                          all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)));
      taught += count;
      left -= count;
    }
  };
  hand_over(TokenSource::kPrediction, prediction, taught, predicted);
  hand_over(TokenSource::kPrompt, sequence.tokens.ids, taught - predicted, sequence.tokens.prompt_count);
  hand_over(TokenSource::kOutput, sequence.tokens.ids, taught - predicted, sequence.known_count());
  return tokens_max - left;
}

std::int32_t Teacher::teach_running(Order order, std::int32_t tokens_max) {
  std::int32_t left = tokens_max;
  for (const bool short_ones : {true, false}) {
    for (const SharingOrder::Entry& entry : order) {
      if (left <= 0) {
        return tokens_max;
      }
      Sequence& sequence = sequences_[entry.slot];
      const std::int32_t count = untaught(sequence);
      if (count > 0 && (count <= policy_.teach_before) == short_ones) {
        left -= teach(sequence, left);
      }
    }
  }
  return tokens_max - left;
}

bool Teacher::teach_beside(Order order, std::int32_t rows) {
  const std::int32_t tokens_max = policy_.teach_beside + rows;
  const bool taught_all = teach_running(order, tokens_max) < tokens_max;
  return speculator_.catch_up(policy_.catch_up_beside) || !taught_all;
}

bool Teacher::teach_slice(Order order) {
  const std::int32_t taught = teach_running(order, policy_.teach_slice);
  const bool is_behind = taught == policy_.teach_slice || speculator_.catch_up(policy_.teach_slice - taught);
  return taught > 0 || is_behind;
}

void Teacher::end(Sequence& sequence) {
  const std::int32_t output_begin = predicted_count(sequence) + sequence.tokens.prompt_count;
  sequence.drafting.taught = std::max(sequence.drafting.taught, output_begin);
  const std::int32_t missing = untaught(sequence);
  if (missing <= policy_.teach_before || !overlaps_) {
    teach(sequence, missing);
    speculator_.end(sequence.slot, {});
  } else {
    const std::span<const TokenId> ids(sequence.tokens.ids);
    speculator_.end(sequence.slot, ids.last(static_cast<std::size_t>(missing)));
  }
}

}  // namespace coppice::engine
