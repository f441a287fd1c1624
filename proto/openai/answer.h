// Answer: what a session says, independent of the API it leaves by: choices made of OutputItems, usage, prompt scores.
// A streamed answer is the same items in pieces, one ChoiceDelta per choice and engine step.
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"
#include "proto/openai/output_item.h"

namespace coppice::openai {

// What a request has used. Except what it says of the cache a function of the request and its answer alone.
struct AnswerUsage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t accepted_prediction_tokens = 0;  // of the request's own prediction; see PredictionMatch
  std::int64_t rejected_prediction_tokens = 0;
  std::int64_t cache_write_tokens = 0;  // of the prompt, added to the prefix cache
  std::int64_t kept_write_tokens = 0;   // of those, in what the request asked to keep for a time
  std::int64_t reasoning_tokens = 0;    // of the completion
};

// What speculation did for an answer, from whatever text it drafted: depends on earlier traffic and on the load.
struct AnswerSpeculation {
  std::int64_t drafted_tokens = 0;
  std::int64_t accepted_tokens = 0;
};

// What is new of one choice; of an answer that is not streamed, all of it.
struct ChoiceDelta {
  std::int32_t index = 0;  // prompt number × n + choice number
  std::vector<OutputItem> items;
  std::vector<TokenId> token_ids;  // tokens as drawn, the end token included; filled when asked for
  AnswerUsage so_far = {};         // of the whole request, when its stream says so in every chunk

  bool empty() const { return items.empty() && token_ids.empty(); }
};

// A prompt scored by prompt_logprobs; the first entry has no logprob.
using PromptScores = std::vector<TokenEntry>;

// The end of an answer, and, when it is not streamed, the answer.
struct Answer {
  std::vector<ChoiceDelta> choices;         // ascending index; empty when streamed: the deltas were the answer
  std::vector<PromptScores> prompt_scores;  // one per prompt when asked for, else empty
  std::int64_t choices_per_prompt = 1;
  AnswerUsage usage;
  AnswerSpeculation speculation;
};

}  // namespace coppice::openai
