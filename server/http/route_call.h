// RouteCall: one request on its way through the router.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "server/http/exchange.h"

namespace coppice::server {

// Owner: shared by the router's call and the handler and jobs that it makes. The exchange and the hub are the
// connection's: used on its thread alone, while its handler lives.
struct RouteCall {
  HttpRequest request;
  std::string request_id;
  std::string_view path;   // of request.target, without the query
  std::string_view route;  // the matched route's name, for metrics
  std::string tenant;      // the API key's; "" without keys
  Exchange& exchange;
  SessionHub& hub;
  std::chrono::steady_clock::time_point arrival = std::chrono::steady_clock::now();
};

using CallPointer = std::shared_ptr<RouteCall>;

}  // namespace coppice::server
