// Errors as gRPC statuses.
#pragma once

#include <string>

#include "grpcpp/support/status.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// The status code nearest to the HTTP status; errors that may pass (openai::is_transient) bring google.rpc's ErrorInfo
// and RetryInfo as details; the message is the same, with the names that fields have in
// inference.proto, and short enough for a client's bound on metadata.
grpc::Status to_status(const openai::ApiError& error);

}  // namespace coppice::server
