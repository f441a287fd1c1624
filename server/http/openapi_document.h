// The OpenAPI document of this server, made from the table of routes and the operations declared in it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "proto/openai/limits.h"
#include "server/http/route.h"

namespace coppice::server {

inline constexpr const char* kOpenapiVersion = "3.1.0";

// OpenAPI 3.1, as JSON. Routes without an operation are left out. needs_key: the server has API keys.
std::string write_openapi(std::span<const Route> routes, const openai::RequestLimits& limits, bool needs_key);

}  // namespace coppice::server
