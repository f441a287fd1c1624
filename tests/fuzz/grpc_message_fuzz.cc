// Bytes of gRPC messages to requests. The first byte chooses the method. Besides not crashing: the check and protobuf
// agree on what is a message; what is refused says why, in UTF-8.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "coppice/v1/inference.pb.h"
#include "server/grpc/convert.h"
#include "server/grpc/library_logs.h"
#include "server/grpc/message_check.h"
#include "server/grpc/read_request.h"
#include "text/utf8.h"

namespace coppice::server {
namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

openai::RequestLimits fuzz_limits() {
  openai::RequestLimits limits;
  limits.body_bytes_max = 1U << 16U;
  limits.vocab = 1000;
  limits.model_tokens_max = 4096;
  limits.json_depth_max = 32;
  return limits;
}

void check_error(const openai::ApiError& error) {
  const grpc::Status status = to_status(error);
  require(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  require(!status.error_message().empty());
  require(text::is_valid_utf8(status.error_message()));
}

template <typename Message>
bool decodes(std::string_view bytes, Message& message) {
  const openai::MaybeError error = check_message(*Message::descriptor(), bytes);
  if (error) {
    check_error(*error);
    return false;
  }
  // The check need not know every way to be no message (packed numbers cut short): the server refuses those by this.
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

template <typename Request>
void read(std::string_view bytes) {
  Request request;
  if (!decodes(bytes, request)) {
    return;
  }
  const openai::Result<openai::GenerationRequest> read = from_proto(request, fuzz_limits());
  if (read.ok()) {
    require(!validate(read.value(), fuzz_limits()).has_value());
  } else {
    check_error(read.error());
  }
}

void run(std::string_view bytes) {
  if (bytes.empty()) {
    return;
  }
  const char method = bytes.front();
  bytes.remove_prefix(1);
  v1::TokenizeRequest tokenize;
  v1::DetokenizeRequest detokenize;
  switch (method % 4) {
    case 0:
      return read<v1::GenerateRequest>(bytes);
    case 1:
      return read<v1::ChatRequest>(bytes);
    case 2:
      decodes(bytes, tokenize);
      return;
    default:
      decodes(bytes, detokenize);
  }
}

}  // namespace
}  // namespace coppice::server

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  coppice::server::redirect_library_logs();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  coppice::server::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
