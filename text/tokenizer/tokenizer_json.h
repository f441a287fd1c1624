// Reads `tokenizer.json` (Hugging Face `tokenizers`, model type BPE) into a Tokenizer, and the older pair of files
// `vocab.json` + `merges.txt`. Everything in the files is checked; what is not supported is refused by name.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// `json`: the file's content. `config`: the folder's tokenizer_config.json, whose added tokens and BOS/EOS settings win
// over the file's, as in Hugging Face transformers. Fields "truncation" and "padding" do not concern a server.
// ERRORS: InvalidArgument beginning with "tokenizer.json: ".
absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer_from_json(std::string_view json, const TokenizerConfig& config);

// GPT-2 and Qwen2 layout. The pre-tokenizer is chosen by config.tokenizer_class (GPT2Tokenizer, Qwen2Tokenizer, with or
// without "Fast"). ERRORS: InvalidArgument naming the file.
absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer_from_vocab_and_merges(std::string_view vocab_json,
                                                                           std::string_view merges_txt,
                                                                           const TokenizerConfig& config);

}  // namespace coppice::text
