// The plain fields beside base/sampling.h that say how an answer is made: one table for JSON, protobuf and docs/api.md.
// Their bounds depend on the model and on each other: validate() has them.
#pragma once

#include "proto/openai/request.h"

namespace coppice::openai {

// A row of the table.
struct RequestField {
  const char* name;        // in JSON
  const char* proto_name;  // in SamplingParameters of inference.proto
  std::int64_t least;      // of a number
  std::int64_t RequestLimits::*most;
  const char* bounds;     // for docs
  const char* otherwise;  // for docs: the default
  const char* meaning;    // for docs: one sentence

  std::int64_t most_of(const RequestLimits& limits) const { return most == nullptr ? 0 : limits.*most; }
};

// Calls visit(row, member) for every row of the table.
template <typename Request, typename Visit>
void for_each_request_field(Request& request, Visit&& visit) {
  visit(RequestField{"max_tokens", "max_tokens", 0, &RequestLimits::model_tokens_max,
                     "1 to the context's length (0 with `echo` or `prompt_logprobs`)",
                     "16; chats: what the context holds", "Most tokens to generate."},
        request.sampling.max_tokens);
  visit(RequestField{"min_tokens", "min_tokens", 0, &RequestLimits::model_tokens_max, "0 to `max_tokens`", "0",
                     "No end token and no stop token is drawn before this many tokens."},
        request.sampling.min_tokens);
  visit(RequestField{"ignore_eos", "ignore_eos", 0, nullptr, "", "false",
                     "The model's end tokens do not end the answer."},
        request.sampling.ignore_eos);
  visit(RequestField{"n", "n", 1, &RequestLimits::choices_max, "1 to 128", "1", "Number of answers."}, request.n);
  visit(RequestField{"include_stop_str_in_output", "include_stop", 0, nullptr, "", "false",
                     "The stop string is part of the text."},
        request.include_stop_str_in_output);
  visit(RequestField{"skip_special_tokens", "skip_special_tokens", 0, nullptr, "", "true",
                     "Special tokens give no text."},
        request.skip_special_tokens);
  visit(RequestField{"prompt_logprobs", "prompt_logprobs", 0, &RequestLimits::top_logprobs_max, "0 to 20", "none",
                     "Logprobs of the prompt's tokens, with this many likeliest ones each. Over HTTP not in streams."},
        request.prompt_logprobs);
}

}  // namespace coppice::openai
