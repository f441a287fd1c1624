// RequestLimits: every bound on what a client may send, in one place, the same for HTTP and gRPC. Derived once at start
// from flags and model; requests are refused by these before anything is tokenised or queued.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::openai {

// Of JSON text, whatever it says.
struct JsonLimits {
  std::size_t body_bytes_max = std::size_t{16} << 20U;
  std::size_t json_depth_max = 64;
  std::size_t json_values_max = std::size_t{2} << 20U;  // numbers, strings, objects ... in one body
  // Memory of what a body becomes: several times its size, up to 16 times for a body of empty arrays.
  std::size_t json_tree_bytes_max = std::size_t{64} << 20U;
  std::size_t object_keys_max = 4096;  // of one object; the largest honest one is logit_bias
  std::size_t key_bytes_max = 1024;    // of one key: the longest name of a tool's parameter is shorter
};

// Of what ends an answer before its length does.
struct StopLimits {
  std::int64_t stop_max = 16;
  std::int64_t stop_bytes_max = 1024;        // of one stop string
  std::int64_t stop_bytes_total_max = 8192;  // of all: the automaton that finds them has 24 times their size
  std::int64_t stop_tokens_max = 64;
};

// Of requests that read instead of generating.
struct ReadingLimits {
  std::int64_t inputs_max = 2048;           // in one embeddings request, as OpenAI
  std::int64_t input_tokens_max = 300'000;  // of all inputs together, as OpenAI; at least the model's context
  std::int64_t questions_max = 400;         // in one decisions request, as OpenAI
  std::int64_t question_choices_max = 255;  // of a question, as OpenAI
};

// Immutable after start.
struct RequestLimits : JsonLimits, StopLimits, ReadingLimits {
  // of the model
  std::int64_t vocab = 0;             // token ids are below this
  std::int64_t hidden = 0;            // numbers of an embedding
  std::int64_t model_tokens_max = 0;  // prompt and answer together
  std::int64_t token_bytes_max = 0;   // bytes of the longest token: bounds text before it is tokenised; 0 = unknown
  bool has_chat_template = false;
  // All text of one request that is tokenised or rendered: prompts and prediction, messages, tools and template
  // arguments. 0 = unbounded.
  std::int64_t text_bytes_max = 0;
  std::int64_t detokenize_tokens_max = 65536;  // of one /detokenize; at least the model's context

  // of one request
  std::int64_t prompts_max = 2048;        // in one completion request, as OpenAI
  std::int64_t choices_max = 128;         // n and best_of
  std::int64_t total_choices_max = 2048;  // prompts × best_of
  std::int64_t logit_bias_max = 1024;
  std::int64_t top_logprobs_max = 20;
  std::int64_t messages_max = 4096;
  std::int64_t tools_max = 512;
  std::int64_t template_kwargs_max = 64;  // names in chat_template_kwargs; templates know a handful
  // Bytes of logprobs and echoed text about the prompts in one answer; known, and refused, before anything is computed.
  std::int64_t prompt_answer_bytes_max = std::int64_t{16} << 20U;
  std::int64_t name_bytes_max = 512;  // model, user, cache_salt, role

  // of one call that adds to a corpus
  std::int64_t corpus_sequences_max = 65536;
};

}  // namespace coppice::openai
