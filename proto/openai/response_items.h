// The items that conversations of /v1/responses are made of: messages, function calls and their outputs, reasoning.
#pragma once

#include <string>

#include "proto/openai/conversation.h"
#include "proto/openai/json_reader.h"

namespace coppice::openai {

// What reading items needs and makes.
struct ItemReading {
  FieldReader& reader;  // takes the first error
  const RequestLimits& limits;
  Conversation conversation = {};
  CacheBreakpoints breakpoints = {};  // in the order of the items
  IgnoredFields ignored = {};         // kinds of items that were skipped: "input.web_search_call"
};

// Adds a client's items, an array or a message's text, to the conversation. `name` is the field's: "input". ERRORS: 400
// for wrong types and for content that is not text.
void read_items(const Json& items, const std::string& name, ItemReading& reading);

// An item as GET .../input_items lists it: with `id`, `type`, `status`, and `content` as an array of parts. `number` is
// the item's in its response, `response_id` makes the id unique.
Json listed_item(const Json& item, const std::string& response_id, std::size_t number);

// A message's text as an item.
Json text_item(std::string text);

}  // namespace coppice::openai
