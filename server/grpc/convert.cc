// Errors as gRPC statuses.
#include "server/grpc/convert.h"

#include <algorithm>

namespace coppice::server {

grpc::Status to_status(const openai::ApiError& error) {
  static constexpr std::pair<int, grpc::StatusCode> kCodes[] = {
      {400, grpc::StatusCode::INVALID_ARGUMENT}, {401, grpc::StatusCode::UNAUTHENTICATED},
      {404, grpc::StatusCode::NOT_FOUND},        {408, grpc::StatusCode::DEADLINE_EXCEEDED},
      {413, grpc::StatusCode::INVALID_ARGUMENT}, {429, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {499, grpc::StatusCode::CANCELLED},        {503, grpc::StatusCode::UNAVAILABLE}};
  const auto* const found = std::find_if(std::begin(kCodes), std::end(kCodes),
                                         [&error](const auto& entry) { return entry.first == error.status; });
  const grpc::StatusCode code = found == std::end(kCodes) ? grpc::StatusCode::INTERNAL : found->second;
  return {code, error.message};
}

}  // namespace coppice::server
