// The methods that answer with one message. Each decodes its request and runs on the work pool.
#pragma once

#include "grpcpp/support/byte_buffer.h"
#include "proto/openai/api_error.h"
#include "server/sessions/prepared_request.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

// REQUIRES: the phase is kServing. ERRORS: 400 for what cannot be decoded or tokenised, 404 (model), 413 and 429.
openai::Result<grpc::ByteBuffer> tokenize(const ServerState& state, const grpc::ByteBuffer& request,
                                          const JobContext& job);
openai::Result<grpc::ByteBuffer> detokenize(const ServerState& state, const grpc::ByteBuffer& request,
                                            const JobContext& job);
openai::Result<grpc::ByteBuffer> list_models(const ServerState& state, const grpc::ByteBuffer& request,
                                             const JobContext& job);
openai::Result<grpc::ByteBuffer> get_load(const ServerState& state, const grpc::ByteBuffer& request,
                                          const JobContext& job);

}  // namespace coppice::server
