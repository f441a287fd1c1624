// Between protobuf messages and the request and answer structs that both doors share. A request becomes the JSON body
// that the HTTP door would have got, and goes through the same parser: so parameters, defaults, bounds and messages
// cannot differ between the doors.
#pragma once

#include <string>

#include "coppice/v1/inference.pb.h"
#include "grpcpp/support/status.h"
#include "proto/openai/answer.h"
#include "proto/openai/api_error.h"
#include "proto/openai/request.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// ERRORS: as parse_completion_request and parse_chat_request.
openai::Result<openai::GenerationRequest> from_proto(const v1::GenerateRequest& request,
                                                     const openai::RequestLimits& limits);
openai::Result<openai::GenerationRequest> from_proto(const v1::ChatRequest& request,
                                                     const openai::RequestLimits& limits);

v1::GenerateResponse to_proto(const openai::ChoiceDelta& delta);
// The last response of a stream: usage, and prompt logprobs when asked for.
v1::GenerateResponse to_proto(const openai::Answer& answer);

// `bytes` with what is not UTF-8 replaced by U+FFFD: protobuf strings must be UTF-8, tokens may be parts of characters.
std::string utf8_only(const std::string& bytes);

// The status code nearest to the HTTP status; the message is the same.
grpc::Status to_status(const openai::ApiError& error);

}  // namespace coppice::server
