// Log lines: to stderr, as text for people or one JSON object a line for machines.
#pragma once

#include "server/app/serve_options.h"

namespace coppice::server {

// Once, before any thread logs.
void set_up_logging(LogFormat format);

}  // namespace coppice::server
