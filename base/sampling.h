// The numbers that shape the distribution a token is drawn from, and the table that says everything about them: name,
// kind, bounds, default, meaning. Requests (JSON and protobuf), generation_config.json, flags, validation and
// docs/api.md are made from it. A new number is a member and a row here, a field in inference.proto, and what devices
// do with it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

namespace coppice::base {

// Bounds what a model's makers may recommend; a request's top_k is at most the vocabulary besides.
inline constexpr double kTopKMost = std::numeric_limits<std::int32_t>::max();

// A row of the table. Its default is the member's in SamplingNumbers.
struct SamplingKnob {
  const char* name;  // in JSON, protobuf and generation_config.json; a flag has dashes
  double least;      // bounds of a request, both allowed
  double most;
  bool is_recommended;  // generation_config.json may set it
  const char* meaning;  // one sentence for docs and --help
};

template <typename Number, typename Integer>
struct BasicSampling {
  Number temperature = otherwise<Number>(1.0);  // 0 = greedy: the largest logit, the lowest id among equals
  Number top_p = otherwise<Number>(1.0);
  Number min_p = otherwise<Number>(0.0);
  Number repetition_penalty = otherwise<Number>(1.0);  // over prompt and output
  Number presence_penalty = otherwise<Number>(0.0);    // over output
  Number frequency_penalty = otherwise<Number>(0.0);   // over output
  Integer top_k = otherwise<Integer>(0.0);             // 0 = all

 private:
  // The default of a number that is always there; an optional one is unset.
  template <typename Value>
  static constexpr Value otherwise(double value) {
    if constexpr (std::is_arithmetic_v<Value>) {
      return static_cast<Value>(value);
    } else {
      return {};
    }
  }
};

// What a row of logits is drawn with.
using SamplingNumbers = BasicSampling<float, std::int32_t>;
// What a request or a model's makers ask for; unset: nothing.
using SamplingChoices = BasicSampling<std::optional<double>, std::optional<std::int64_t>>;

// Calls visit(row, member of each of `sets`...) for every row of the table.
template <typename Visit, typename... Sets>
constexpr void for_each_sampling_knob(Visit&& visit, Sets&... sets) {
  visit(SamplingKnob{"temperature", 0, 100, true, "Divides the logits; 0 always draws the likeliest token."},
        sets.temperature...);
  visit(SamplingKnob{"top_p", 0, 1, true, "Draws from the likeliest tokens that together have this probability."},
        sets.top_p...);
  visit(SamplingKnob{"min_p", 0, 1, true, "Draws no token less likely than this share of the likeliest one."},
        sets.min_p...);
  visit(SamplingKnob{"repetition_penalty", 0.01, 100, true,
                     "Divides the logits (multiplies negative ones) of tokens in prompt or output."},
        sets.repetition_penalty...);
  visit(SamplingKnob{"presence_penalty", -2, 2, false, "Subtracted from the logit of every token in the output."},
        sets.presence_penalty...);
  visit(SamplingKnob{"frequency_penalty", -2, 2, false,
                     "Subtracted from a token's logit once for each time it is in the output."},
        sets.frequency_penalty...);
  visit(SamplingKnob{"top_k", -1, kTopKMost, true, "Draws from this many likeliest tokens; 0 or -1: from all."},
        sets.top_k...);
}

}  // namespace coppice::base
