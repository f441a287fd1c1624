// RouteCall: one request on its way through the router to the route that answers it, and the two ways to answer it at
// once.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/api_error.h"
#include "server/http/exchange.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

// How long a client waits for its answer, in milliseconds: the request ends when they are over.
inline constexpr const char* kTimeoutHeader = "x-request-timeout-ms";
inline constexpr std::int64_t kTimeoutMostMs = 86'400'000;  // a day: the most that a batch may take, too

// Whose envelope errors are written in.
enum class ErrorDialect : std::uint8_t { kOpenai, kAnthropic };

// Owner: shared by the router's call and the handler and jobs that it makes. The exchange and the hub are the
// connection's: used on its thread alone, while its handler lives.
struct RouteCall {
  HttpRequest request;
  std::string request_id;
  std::string_view path;           // of request.target, without the query
  std::string_view route;          // the matched route's path, for metrics
  std::vector<std::string> parts;  // what stood for the names in the route's path, decoded
  std::string tenant;              // the API key's; "" without keys
  ErrorDialect dialect;
  Exchange& exchange;
  SessionHub& hub;
  std::chrono::steady_clock::time_point arrival = std::chrono::steady_clock::now();
  std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt;  // of the client (kTimeoutHeader)
};

using CallPointer = std::shared_ptr<RouteCall>;

// Answers with 200 and `body`. On the connection's thread.
void answer(ServerState& state, RouteCall& call, std::string body, std::string content_type = "application/json");
// The same with another status.
void answer_with(ServerState& state, RouteCall& call, int status, std::string body,
                 std::string content_type = "application/json");
// Answers with an error, in the envelope of the route's API.
void answer(ServerState& state, RouteCall& call, const openai::ApiError& error);

// An error as a response, with Retry-After and x-request-id.
HttpResponse error_response(const openai::ApiError& error, const std::string& request_id, ErrorDialect dialect);

}  // namespace coppice::server
