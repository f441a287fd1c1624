// What the environment says about fetching models, by the names that Hugging Face's own client has. The only place that
// reads it; below, options arrive by argument.
#pragma once

#include "server/hub/hub_model.h"

namespace coppice::server {

// HF_ENDPOINT; HF_TOKEN, HF_TOKEN_PATH or the token file of HF_HOME; HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME;
// HF_HUB_OFFLINE; HF_HUB_DOWNLOAD_TIMEOUT; HTTPS_PROXY, NO_PROXY; COPPICE_CACHE. Its hub() reads those that are for
// connections. ERRORS of that: InvalidArgument naming the variable.
FetchOptions fetch_options_from_environment();

}  // namespace coppice::server
