// Anthropic's small objects: errors, token counts, models.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/openai/api_error.h"
#include "proto/openai/write_objects.h"

namespace coppice::anthropic {

// {"type":"error","error":{"type","message"},"request_id"}; no request_id when it is empty.
std::string write_error(const openai::ApiError& error, std::string_view request_id);

// {"input_tokens"}
std::string write_token_count(std::int64_t tokens);

std::string write_model(const openai::ModelCard& card);
std::string write_model_list(std::span<const openai::ModelCard> cards);

}  // namespace coppice::anthropic
