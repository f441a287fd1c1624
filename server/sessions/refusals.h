// Refusals: with which HTTP status requests are refused, when, and which gRPC status says the same. One table for the
// gRPC front end, /openapi.json and docs/api.md.
#pragma once

#include <span>

namespace coppice::server {

struct Refusal {
  int status;
  const char* when;
  const char* grpc_name;
  int grpc_code;
};

// In ascending order of status.
std::span<const Refusal> refusals();

}  // namespace coppice::server
