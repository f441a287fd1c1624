// What the bodies and answers of /v1/messages hold, and models and errors in Anthropic's form, for documents.
#pragma once

#include "proto/openai/limits.h"
#include "proto/openai/schema.h"

namespace coppice::anthropic {

openai::Schema message_request_schema(const openai::RequestLimits& limits);
// The same, but nothing is generated.
openai::Schema count_request_schema(const openai::RequestLimits& limits);
openai::Schema message_schema();
// Of every event of a stream; which members it has besides `type` depends on the type.
openai::Schema message_event_schema();
openai::Schema token_count_schema();

openai::Schema model_schema();
openai::Schema model_list_schema();
openai::Schema error_schema();

}  // namespace coppice::anthropic
