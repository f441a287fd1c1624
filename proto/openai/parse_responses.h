// POST /v1/responses: its body read into a GenerationRequest, and what the answer repeats of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// Fields of the response object that are known before the answer is, as JSON, in their order.
using ResponseEcho = std::vector<std::pair<const char*, std::string>>;

struct ResponsesRequest {
  GenerationRequest generation;
  ResponseEcho echo;
  std::string previous_id;  // "": the conversation begins here
  std::string input;        // the items of this request, an array, to be stored; empty when they are not
  bool store = true;
  bool background = false;
};

// The id of the response that a body continues; "": none. ERRORS: 400.
Result<std::string> read_previous_id(const Json& body);

// `history`: the items of the conversation so far, in arrays as they were stored. ERRORS: 400 with the field in
// `param`; 413.
Result<ResponsesRequest> read_responses_request(Json body, const std::vector<Json>& history,
                                                const RequestLimits& limits);

}  // namespace coppice::openai
