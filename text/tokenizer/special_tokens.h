// How tokenizer_config.json changes a tokenizer: added tokens, roles (BOS, EOS, ...), what is put around a text.
// Rules are those of transformers' fast tokenizers; see special_tokens.cc.
#pragma once

#include "absl/status/status.h"
#include "text/tokenizer/bpe_tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// Completes parts.added_tokens, .prefix, .suffix and .special.
// ERRORS: InvalidArgument when the config contradicts the vocabulary, or wants a BOS or EOS added that has no id.
absl::Status apply_config(const TokenizerConfig& config, BpeTokenizerParts& parts);

// Whether transformers adds BOS for this tokenizer class when the config does not say (the Llama family).
bool class_adds_bos(std::string_view tokenizer_class);

}  // namespace coppice::text
