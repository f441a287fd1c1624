// Pinned prompts: system prompts that a server shall never compute again. Read from a file at start, computed once, and
// kept in the prefix cache as long as the server lives.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/sessions/model_host.h"

namespace coppice::server {

// `path` has one JSON object a line: the body of a chat or completion request, of which only the prompt counts (its
// beginning, in whole pages, is what others can share), with "cache_salt" and "tenant" ("key1" for the first key of
// --api-key-file) saying whose prefix it is. Steps the engine until all are computed. REQUIRES: nobody else steps the
// engine. ERRORS: InvalidArgument with the line that cannot be pinned, and why; NotFound.
absl::Status pin_prompts(const std::string& path, const ModelHost& host);

}  // namespace coppice::server
