// What the server and `coppice batch` do alike to make a ModelHost: its texts, and the bounds of its requests.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "models/model_config.h"
#include "server/model/model_package.h"
#include "server/prompts/choose_formats.h"
#include "server/sessions/model_host.h"

namespace coppice::server {

// Tokenizer, chat template and sampling defaults of the package. A chat template that does not compile is only logged;
// chat requests are refused then. ERRORS: as the package's getters.
absl::Status load_text(const ModelPackage& package, ModelHost& host, const FormatNames& formats = {});

// host.grammars and host.reasoning_tokens. REQUIRES: load_text().
void open_grammars(const models::ModelConfig& config, const OutputGrammarsOptions& options, ModelHost& host);

// host.request_limits. REQUIRES: load_text() and host.engine_limits.
void derive_request_limits(std::size_t body_bytes_max, const models::ModelConfig& config, ModelHost& host);

}  // namespace coppice::server
