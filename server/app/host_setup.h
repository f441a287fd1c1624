// What the server and `coppice batch` do alike to make a ModelHost: its texts, and the bounds of its requests.
#pragma once

#include <cstddef>
#include <filesystem>

#include "absl/status/status.h"
#include "models/model_config.h"
#include "server/model/model_host.h"

namespace coppice::server {

// Tokenizer, chat template and sampling defaults of the model in `folder`. ERRORS: what the files refuse; a chat
// template that cannot be used is only logged, and chat requests will be refused.
absl::Status load_text(const std::filesystem::path& folder, ModelHost& host);

// host.request_limits. REQUIRES: load_text() and host.engine_limits.
void derive_request_limits(std::size_t body_bytes_max, const models::ModelConfig& config, ModelHost& host);

}  // namespace coppice::server
