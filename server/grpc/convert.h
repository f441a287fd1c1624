// From protobuf messages to the request struct that all APIs share. A request becomes the JSON body
// that the HTTP door would have got, and goes through the same parser: so parameters, defaults, bounds and messages
// cannot differ between the doors.
#pragma once

#include "coppice/v1/inference.pb.h"
#include "grpcpp/support/status.h"
#include "proto/openai/api_error.h"
#include "proto/openai/request.h"

namespace coppice::server {

// ERRORS: as parse_completion_request and parse_chat_request.
openai::Result<openai::GenerationRequest> from_proto(const v1::GenerateRequest& request,
                                                     const openai::RequestLimits& limits);
openai::Result<openai::GenerationRequest> from_proto(const v1::ChatRequest& request,
                                                     const openai::RequestLimits& limits);

// The status code nearest to the HTTP status; the message is the same.
grpc::Status to_status(const openai::ApiError& error);

}  // namespace coppice::server
