// POST /v1/messages and /v1/messages/count_tokens: bodies read into a GenerationRequest.
#pragma once

#include "proto/openai/json_reader.h"

namespace coppice::anthropic {

// Type-checked and validate()d. ERRORS: 400 with the field in `param`; 413.
openai::Result<openai::GenerationRequest> read_messages_request(openai::Json body, const openai::RequestLimits& limits);

// The same for a body whose tokens are only counted: it needs no `max_tokens`.
openai::Result<openai::GenerationRequest> read_count_request(openai::Json body, const openai::RequestLimits& limits);

}  // namespace coppice::anthropic
