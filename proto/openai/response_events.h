// ResponseEvents: the server-sent events of a streamed response, numbered in their order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/openai/json_writer.h"
#include "proto/openai/response_object.h"

namespace coppice::openai {

// Appends to `out`. Owner and thread: a local variable; `sequence`, the next event's number, outlives it.
class ResponseEvents {
 public:
  ResponseEvents(std::int64_t& sequence, std::string& out) : sequence_(sequence), out_(out) {}

  // response.created and the like: `object` is the whole response.
  void response(std::string_view type, std::string_view object);
  // Item `index` of the output has begun; it is still empty.
  void item_begins(std::int64_t index, const ResponseItem& item);
  // More of its text or arguments. `logprobs`: entries as JSON, separated by commas.
  void item_grows(std::int64_t index, const ResponseItem& item, std::string_view text, std::string_view logprobs);
  void item_ends(std::int64_t index, const ResponseItem& item);
  void error(const ApiError& error);

 private:
  JsonWriter begin(std::string_view type);
  JsonWriter begin_part(std::string_view type, std::int64_t index, const ResponseItem& item);
  void end(std::string_view type, JsonWriter& json);

  std::int64_t& sequence_;
  std::string& out_;
};

}  // namespace coppice::openai
