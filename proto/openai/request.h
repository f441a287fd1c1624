// GenerationRequest: what a client asks for, after its JSON (or protobuf) has been read and before anything is
// tokenised. All front ends fill the same structs and pass them through the same validate().
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/sampling.h"
#include "base/types.h"
#include "proto/openai/api_error.h"
#include "proto/openai/cache_control.h"
#include "proto/openai/ignored_fields.h"
#include "proto/openai/limits.h"
#include "proto/openai/output_format.h"

namespace coppice::openai {

using Json = nlohmann::ordered_json;

enum class RequestKind : std::uint8_t { kCompletion, kChat };

// Text, or token ids as the client counts them.
using Prompt = std::variant<std::string, std::vector<TokenId>>;

// How tokens are drawn and when to end. Unset: the model's default, else the API's. Bounds are checked by validate().
struct SamplingFields : base::SamplingChoices {
  std::optional<std::int64_t> max_tokens;
  const char* max_tokens_name = "max_tokens";  // the field that it came in, for messages; a literal
  std::optional<std::int64_t> min_tokens;
  std::optional<std::uint64_t> seed;  // a negative JSON seed is its two's complement
  std::vector<std::pair<std::int64_t, double>> logit_bias;
  std::vector<std::int64_t> stop_token_ids;
  bool ignore_eos = false;
};

// Whether the answer calls tools. `kAuto`: as the model likes.
enum class ToolChoice : std::uint8_t { kAuto, kNone, kRequired, kNamed };

// Of a chat request, in the form that normalise_message.h says. Never null pointers after parsing; immutable.
struct ChatFields {
  std::shared_ptr<const Json> messages;
  std::shared_ptr<const Json> tools;            // null pointer: none
  std::shared_ptr<const Json> template_kwargs;  // chat_template_kwargs; null pointer: none
  bool has_tools = false;                       // stays when `tools` is dropped after rendering
  ToolChoice tool_choice = ToolChoice::kAuto;   // of the tools that `tools` has
  std::string called_tool;                      // kNamed
  bool parallel_tool_calls = true;              // more than one call in an answer
  bool has_functions = false;                   // they came as `functions`: calls are answered as `function_call`
  std::optional<std::int64_t> thinking_budget;  // tokens of reasoning after which its end is forced; none: no bound
  std::string thinking_budget_field;            // that it came in, for messages
  std::string template_name;                    // chat_template: one of the model's; empty: as transformers chooses
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  CacheBreakpoints marks;  // as content parts ask for them, in their order; without times
};

// Class of service: which of a tenant's requests go first.
enum class ServiceTier : std::uint8_t { kUnset, kDefault, kFlex, kPriority };

// What an API calls the fields that refusals name; SamplingFields has the name of max_tokens.
struct FieldNames {
  const char* prompt;
  const char* stop;
  const char* logprobs;
};
inline constexpr FieldNames kCompletionNames = {"prompt", "stop", "logprobs"};
inline constexpr FieldNames kChatNames = {"messages", "stop", "top_logprobs"};
inline constexpr FieldNames kResponsesNames = {"input", "stop", "top_logprobs"};
inline constexpr FieldNames kMessagesNames = {"messages", "stop_sequences", "top_logprobs"};

// A value; moved from the front end into its session.
struct GenerationRequest {
  RequestKind kind = RequestKind::kCompletion;
  std::string model;            // empty: whatever is served
  std::vector<Prompt> prompts;  // kCompletion
  ChatFields chat;              // kChat
  SamplingFields sampling;
  bool cuts_max_tokens = false;       // max_tokens is an upper bound: what the context cannot hold is cut, not refused
  bool allows_no_tokens = false;      // max_tokens may be 0: the request only fills the prefix cache
  const FieldNames* names = nullptr;  // null: those of the kind
  std::int64_t n = 1;
  std::optional<std::int64_t> best_of;  // completions; chooses the n of the highest mean logprob
  std::vector<std::string> stop;
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  std::optional<bool> add_special_tokens;  // BOS and the like; unset: yes for completions, no for chats
  bool parse_special = true;               // completions: special tokens written in the prompt's text become tokens
  std::string suffix;                      // completions: text that comes after the answer; empty: none
  bool echo = false;
  std::optional<std::int64_t> top_logprobs;     // unset: none; 0: the drawn token's; k: also the k most likely
  std::optional<std::int64_t> prompt_logprobs;  // likewise for the prompt
  bool stream = false;
  bool streams_prompt_logprobs = false;   // the API has a place for them at a stream's end
  bool include_usage = false;             // stream_options.include_usage
  bool continuous_usage = false;          // stream_options.continuous_usage_stats: usage so far in every chunk
  bool return_token_ids = false;          // vLLM's: token ids beside the text
  bool tokens_as_ids = false;             // vLLM's return_tokens_as_token_ids: logprobs name tokens "token_id:7"
  std::optional<std::string> prediction;  // predicted outputs, as text
  OutputFormat format;                    // what the output has to match
  std::int64_t priority = 0;              // lower runs first
  ServiceTier service_tier = ServiceTier::kUnset;
  std::string cache_salt;
  CacheBreakpoints cache_breakpoints;  // kChat; at most kCacheBreakpointsMax
  CacheControl cache_control;
  std::string user;
  IgnoredFields ignored;  // for the answer's header
};

// What the API that `request` came by calls its fields.
inline const FieldNames& names_of(const GenerationRequest& request) {
  if (request.names != nullptr) {
    return *request.names;
  }
  return request.kind == RequestKind::kChat ? kChatNames : kCompletionNames;
}

// Checks every bound that needs no tokenizer. Every front end calls it once, after filling the struct. ERRORS: 400
// naming field, bounds and what came. The model's name is not checked here.
MaybeError validate(const GenerationRequest& request, const RequestLimits& limits);

// The part of validate() that is the same for a model's recommendations.
MaybeError validate(const base::SamplingChoices& sampling, const RequestLimits& limits);

// Refuses text that no tokenizer could make fit the model, before any work is spent on it. ERRORS: 400.
MaybeError check_prompt_bytes(const char* name, std::size_t bytes, const RequestLimits& limits);

// Refuses more text than one request may bring, in all its fields together. ERRORS: 413 naming `name`.
MaybeError check_text_bytes(const char* name, std::size_t bytes, const RequestLimits& limits);

// The bytes of text in a conversation with its tools and template arguments: what rendering it has to read.
std::size_t text_bytes(const ChatFields& chat);

}  // namespace coppice::openai
