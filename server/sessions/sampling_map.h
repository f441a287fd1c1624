// From the API's sampling fields to the engine's: defaults filled in, spellings of "off" made one.
#pragma once

#include <cstdint>

#include "engine/request.h"
#include "proto/openai/request.h"
#include "server/sessions/model_host.h"

namespace coppice::server {

// REQUIRES: validate()d. `max_tokens` is what this prompt may generate.
engine::SamplingParameters map_sampling(const openai::GenerationRequest& request, const SamplingDefaults& defaults,
                                        std::int32_t max_tokens);

}  // namespace coppice::server
