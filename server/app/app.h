// The server as a whole: from options to a running program, and down again on SIGTERM or SIGINT.
#pragma once

#include "absl/status/status.h"
#include "server/app/serve_options.h"
#include "server/model/model_package.h"

namespace coppice::server {

// Loads the model, opens the doors, prints the ready line to stderr and serves until SIGTERM or SIGINT, then drains.
// Thread: the main one; blocks. ERRORS: InvalidArgument for what the user must change (exit code 2); others for what
// went wrong at work (exit code 1); one clear line each.
absl::Status run_server(const ServeOptions& options, const ModelPackage& package);

}  // namespace coppice::server
