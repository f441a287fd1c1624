// What the objects of OpenAI's chat and completions APIs have in common. Each function writes keys of an open object,
// or appends whole server-sent events to `out`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/api_error.h"
#include "proto/openai/json_writer.h"

namespace coppice::openai {

// What every object of one answer repeats, and which optional fields its objects have.
struct AnswerHead {
  std::string id;              // "cmpl-..." or "chatcmpl-..."
  std::int64_t created_s = 0;  // Unix time
  std::string model;
  std::string_view service_tier;  // empty: was not asked for; else a literal
  bool logprobs = false;
  bool include_usage = false;     // stream: "usage": null in every chunk and a last chunk that has it
  bool continuous_usage = false;  // stream: the usage so far in every chunk
  bool return_token_ids = false;
  bool has_functions = false;  // a call is a `function_call`
  bool tokens_as_ids = false;  // logprobs name tokens by their ids
};

// Entries of several items in order, not copied. The items must outlive the list.
using EntryList = std::vector<const TokenEntry*>;
void add_entries(const std::vector<TokenEntry>& tokens, EntryList& list);

void write_head(const AnswerHead& head, std::string_view object, JsonWriter& out);
// usage, and speculation beside it.
void write_usage(const Answer& answer, JsonWriter& out);
// finish_reason and stop_reason; null: the choice goes on.
void write_finish(const AnswerHead& head, const Finish* finish, JsonWriter& out);
// token_ids, when asked for.
void write_token_ids(const AnswerHead& head, const ChoiceDelta& choice, JsonWriter& out);

// Ends the object of a chunk of `delta` and appends it as an event.
void end_chunk(const AnswerHead& head, const ChoiceDelta& delta, JsonWriter& json, std::string& out);
// The last events of a stream: usage when asked for, then [DONE].
void append_stream_end(const AnswerHead& head, std::string_view object, const Answer& answer, std::string& out);
// The error envelope as an event, then [DONE].
void append_stream_error(const ApiError& error, std::string& out);

}  // namespace coppice::openai
