// The response object of /v1/responses and the items of its output, as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/api_error.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/parse_responses.h"

namespace coppice::openai {

// One item of an answer, grown delta by delta.
struct ResponseItem {
  enum class Kind : std::uint8_t { kMessage, kReasoning, kCall };

  Kind kind = Kind::kMessage;
  std::string id;        // unique in the server's life
  std::string text;      // kCall: the arguments
  std::string logprobs;  // kMessage: entries as JSON, separated by commas
  std::string call_id;   // kCall, as the name
  std::string name;
  const char* status = "in_progress";
};

// Members of the response object that do not change while the answer is made.
struct ResponseHead {
  std::string id;              // "resp_..."
  std::int64_t created_s = 0;  // Unix time
  std::string model;
  ResponseEcho echo;
};

// What changes.
struct ResponseState {
  std::string_view status;             // "in_progress", "completed", ...
  std::int64_t completed_s = 0;        // 0: not completed
  const ApiError* error = nullptr;     // "failed"
  const AnswerUsage* usage = nullptr;  // known at the end
  const std::vector<ResponseItem>* items = nullptr;
};

// Entries of tokens as JSON, separated by commas, added to those in `out`.
void append_logprobs(const std::vector<TokenEntry>& tokens, std::string& out);
// Such entries as an array.
void write_logprobs(std::string_view entries, JsonWriter& out);

// One content part: what a message says or a reasoning thought.
void write_part(const ResponseItem& item, JsonWriter& out);
void write_item(const ResponseItem& item, JsonWriter& out);
std::string write_items(const std::vector<ResponseItem>& items);
std::string write_response(const ResponseHead& head, const ResponseState& state);

// A page of input items.
std::string write_item_list(std::span<const Json> items, bool has_more);

// {"object":"response.input_tokens","input_tokens"}
std::string write_input_tokens(std::int64_t tokens);

// {"id","object":"response.deleted","deleted":true}
std::string write_response_deleted(std::string_view id);

}  // namespace coppice::openai
