// RequestLimits: every bound on what a client may send, in one place, the same for HTTP and gRPC. Derived once at start
// from flags and model; requests are refused by these before anything is tokenised or queued.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::openai {

// Immutable after start.
struct RequestLimits {
  // JSON text
  std::size_t body_bytes_max = std::size_t{16} << 20U;
  std::size_t json_depth_max = 64;
  std::size_t json_values_max = std::size_t{4} << 20U;  // numbers, strings, objects ... in one body

  // of the model
  std::int64_t vocab = 0;             // token ids are below this
  std::int64_t model_tokens_max = 0;  // prompt and answer together
  std::int64_t token_bytes_max = 0;   // bytes of the longest token: bounds text before it is tokenised; 0 = unknown
  bool has_chat_template = false;

  // of one request
  std::int64_t prompts_max = 2048;        // in one completion request, as OpenAI
  std::int64_t choices_max = 128;         // n and best_of
  std::int64_t total_choices_max = 2048;  // prompts × best_of
  std::int64_t stop_max = 16;
  std::int64_t stop_bytes_max = 1024;  // of one stop string
  std::int64_t stop_tokens_max = 64;
  std::int64_t logit_bias_max = 1024;
  std::int64_t top_logprobs_max = 20;
  std::int64_t messages_max = 4096;
  std::int64_t tools_max = 512;
  std::int64_t name_bytes_max = 512;  // model, user, cache_salt, role
};

}  // namespace coppice::openai
