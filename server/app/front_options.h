// What the command line says, as the options of the front ends and of their threads.
#pragma once

#include <chrono>

#include "server/app/serve_options.h"
#include "server/grpc/grpc_server.h"
#include "server/http/http_server.h"
#include "server/http/router.h"
#include "server/net/tls_identity.h"
#include "server/work/work_pool.h"

namespace coppice::server {

std::chrono::milliseconds to_milliseconds(double seconds);

HttpOptions http_options(const ServeOptions& options, const TlsIdentity& tls);
// Administration is for those who are on the machine: loopback, one thread, no TLS.
HttpOptions admin_http_options(const ServeOptions& options);
RouterOptions router_options(const ServeOptions& options, RouteSet routes);
GrpcOptions grpc_options(const ServeOptions& options);
WorkPoolOptions work_options(const ServeOptions& options);

}  // namespace coppice::server
