// What clients ask about a model's tokenizer, in the words of tokenizer_config.json, as vLLM's /tokenizer_info has it.
#pragma once

#include <string>

#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::server {

// A JSON object. What the model does not say is null.
std::string write_tokenizer_info(const text::TokenizerConfig& config, const text::Tokenizer& tokenizer);

}  // namespace coppice::server
