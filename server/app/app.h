// The server as a whole: from options to a running program, and down again on SIGTERM or SIGINT.
#pragma once

#include "absl/status/status.h"
#include "server/app/serve_options.h"
#include "server/model/model_package.h"

namespace coppice::server {

// Opens the front ends, loads the model, prints the ready line to stderr, serves until SIGTERM or SIGINT, and drains.
// Thread: the main one; blocks. ERRORS: InvalidArgument for what the user must change (exit code 2); other codes for
// what failed at work (exit code 1). One line each.
absl::Status run_server(const ServeOptions& options, const ModelPackage& package);

}  // namespace coppice::server
