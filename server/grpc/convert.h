// Errors as gRPC statuses.
#pragma once

#include "grpcpp/support/status.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// The status code nearest to the HTTP status; the message is the same.
grpc::Status to_status(const openai::ApiError& error);

}  // namespace coppice::server
