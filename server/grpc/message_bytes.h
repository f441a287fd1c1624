// Messages to and from the bytes that gRPC carries. The server decodes by itself, on the work pool, so that what cannot
// be decoded is refused with words and the bytes of what waits are known.
#pragma once

#include <string>

#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// ERRORS: 400 as check_message().
openai::MaybeError decode(const grpc::ByteBuffer& bytes, google::protobuf::Message& message);

// REQUIRES: valid UTF-8 in text fields.
grpc::ByteBuffer encode(const google::protobuf::Message& message);

}  // namespace coppice::server
