// Pinned prompts: read from a file at start, computed once, and kept in the prefix cache as long as the server lives.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/access/api_keys.h"
#include "server/sessions/model_host.h"

namespace coppice::server {

// Pins the prompts in the file `path`: one JSON object a line, the body of a chat or completion request. Only its
// prompt counts; whole pages of its beginning can be shared. "tenant" (tenant_of_key() of one of the keys; required
// where keys are) and "cache_salt" name the tenant that the prefix belongs to. Steps the engine until all prompts are
// computed.
// REQUIRES: no other thread steps the engine. ERRORS: InvalidArgument with the line that cannot be pinned, and why;
// NotFound.
absl::Status pin_prompts(const std::string& path, const ModelHost& host, const ApiKeys& keys);

}  // namespace coppice::server
