// What gRPC and protobuf would print to stderr goes to the server's log.
#pragma once

namespace coppice::server {

// For the whole process. Call before either library is used.
void redirect_library_logs();

}  // namespace coppice::server
