// From protobuf messages to the request struct that all front ends share, field by field. The tables of fields
// (base/sampling.h, proto/openai/request_fields.h), the checks of conversations and validate() are those of HTTP: what
// one front end refuses, the other refuses with the same message.
#pragma once

#include "coppice/v1/inference.pb.h"
#include "proto/openai/api_error.h"
#include "proto/openai/limits.h"
#include "proto/openai/request.h"

namespace coppice::server {

// A streaming request, validate()d. ERRORS: as parse_completion_request and parse_chat_request; 400 naming the field
// for one that must hold JSON text and does not.
openai::Result<openai::GenerationRequest> from_proto(const v1::GenerateRequest& request,
                                                     const openai::RequestLimits& limits);
openai::Result<openai::GenerationRequest> from_proto(const v1::ChatRequest& request,
                                                     const openai::RequestLimits& limits);

}  // namespace coppice::server
