// From the API's sampling fields to the engine's: defaults filled in, spellings of "off" made one.
#pragma once

#include <cstdint>

#include "base/sampling.h"
#include "engine/request.h"
#include "proto/openai/request.h"

namespace coppice::server {

// What to draw with: what was asked for, else what the model's makers recommend, else the default. REQUIRES: both
// validate()d.
base::SamplingNumbers resolve_sampling(const base::SamplingChoices& asked, const base::SamplingChoices& recommended);

// REQUIRES: validate()d. `max_tokens` is what this prompt may generate.
engine::SamplingParameters map_sampling(const openai::GenerationRequest& request,
                                        const base::SamplingChoices& recommended, std::int32_t max_tokens);

}  // namespace coppice::server
