// Numbers and names of the command line, for each front end.
#include "server/app/front_options.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/net/listener.h"

namespace coppice::server {
namespace {

constexpr std::int32_t kAdminConnections = 64;  // people and scripts on this machine

std::int32_t io_threads(const ServeOptions& options) {
  const auto cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
  return options.http_threads > 0 ? options.http_threads : std::clamp(cores / 4, 2, 8);
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const std::size_t first = item.find_first_not_of(' ');
    if (first != std::string_view::npos) {
      items.emplace_back(item.substr(first, item.find_last_not_of(' ') + 1 - first));
    }
  }
  return items;
}

}  // namespace

std::chrono::milliseconds to_milliseconds(double seconds) {
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

HttpOptions http_options(const ServeOptions& options, const TlsIdentity& tls) {
  HttpOptions http;
  http.host = options.host;
  http.port = options.port;
  http.threads = io_threads(options);
  http.tls = tls;
  http.connections_max = options.connections_max;
  http.handshakes_max = options.handshakes_max;
  http.parser.body_bytes_max = options.body_bytes_max;
  http.header_timeout = to_milliseconds(options.header_timeout_s);
  http.idle_timeout = to_milliseconds(options.idle_timeout_s);
  return http;
}

HttpOptions admin_http_options(const ServeOptions& options) {
  HttpOptions http = http_options(options, {});
  http.host = "127.0.0.1";
  http.port = options.admin_port;
  http.port_flag = "--admin-port";
  http.connections_max = kAdminConnections;
  http.threads = 1;
  return http;
}

RouterOptions router_options(const ServeOptions& options, RouteSet routes) {
  RouterOptions router;
  router.routes = routes;
  router.browsers.allowed_hosts = split_list(options.allowed_hosts);
  router.browsers.cors_origins = split_list(options.cors_origins);
  const bool is_loopback = routes == RouteSet::kAdministration || is_loopback_host(options.host);
  router.browsers.checks_host = (options.api_key_file.empty() && is_loopback) || !router.browsers.allowed_hosts.empty();
  return router;
}

WorkPoolOptions work_options(const ServeOptions& options) {
  WorkPoolOptions work;
  const auto cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
  work.threads = options.work_threads > 0 ? options.work_threads : std::clamp(cores / 4, 2, 8);
  return work;
}

GrpcOptions grpc_options(const ServeOptions& options) {
  constexpr std::int32_t kThreadsPerRelay = 4;  // of sessions, which do more for a token than relaying it
  GrpcOptions grpc;
  grpc.proxy.host = options.host;
  grpc.proxy.port = options.grpc_port;
  grpc.proxy.threads = std::max(1, io_threads(options) / kThreadsPerRelay);
  grpc.proxy.connections_max = options.grpc_connections_max;
  grpc.proxy.handshakes_max = options.handshakes_max;
  grpc.proxy.guard.streams_max = static_cast<std::size_t>(options.grpc_streams_max);
  grpc.proxy.requests_bytes_max = options.memory.server_bytes / 2;  // the rest is for those that have come whole
  grpc.proxy.handshake_timeout = to_milliseconds(options.header_timeout_s);
  grpc.proxy.idle_timeout = to_milliseconds(options.grpc_idle_timeout_s);
  grpc.loops = io_threads(options);
  grpc.message_bytes_max = options.body_bytes_max;
  return grpc;
}

}  // namespace coppice::server
