// Builds a Tokenizer from `tokenizer.json` (Hugging Face `tokenizers`, model type BPE), or from the older pair
// `vocab.json` and `merges.txt`. Checks everything in the files and refuses by name what is not supported.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// `json`: the file's content. `config`: the folder's tokenizer_config.json; its added tokens and BOS/EOS settings
// override the file's, as in transformers. Ignores "truncation" and "padding", which a server does not use.
// ERRORS: InvalidArgument beginning with "tokenizer.json: ".
absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer_from_json(std::string_view json, const TokenizerConfig& config);

// For the layout of GPT-2 and Qwen2. config.tokenizer_class (GPT2Tokenizer, Qwen2Tokenizer, with or without "Fast")
// chooses the pre-tokenizer.
// ERRORS: InvalidArgument naming the file.
absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer_from_vocab_and_merges(std::string_view vocab_json,
                                                                           std::string_view merges_txt,
                                                                           const TokenizerConfig& config);

}  // namespace coppice::text
