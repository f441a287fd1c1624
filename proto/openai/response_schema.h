// What the bodies and answers of /v1/responses hold, for documents.
#pragma once

#include "proto/openai/limits.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

// Also of /v1/responses/input_tokens.
Schema response_request_schema(const RequestLimits& limits);
Schema response_schema();
// Of every event of a stream; which members it has besides `type` and `sequence_number` depends on the type.
Schema response_event_schema();
Schema response_input_items_schema();
Schema response_input_tokens_schema();
Schema response_deleted_schema();

}  // namespace coppice::openai
