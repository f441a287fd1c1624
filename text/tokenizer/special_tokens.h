// Applies tokenizer_config.json to a tokenizer: added tokens, roles (BOS, EOS, ...), tokens around a text.
// Source: transformers' fast tokenizers; see special_tokens.cc.
#pragma once

#include "absl/status/status.h"
#include "text/tokenizer/bpe_tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// Completes parts.added_tokens, .prefix, .suffix and .special.
// ERRORS: InvalidArgument when the config contradicts the vocabulary, or adds a BOS or EOS that has no id.
absl::Status apply_config(const TokenizerConfig& config, BpeTokenizerParts& parts);

// Returns whether transformers adds BOS for this tokenizer class by default (the Llama family).
bool class_adds_bos(std::string_view tokenizer_class);

}  // namespace coppice::text
