// Tokenizer and chat templates of a GGUF file, from its keys.
#pragma once

#include "absl/status/statusor.h"
#include "models/gguf.h"
#include "server/model/model_package.h"

namespace coppice::server {

// Keys that begin with "tokenizer.": a vocabulary of sentencepiece's kind ("llama") or of byte-level BPE ("gpt2").
// ERRORS: InvalidArgument naming the key; Unimplemented for another kind of vocabulary or another way to cut text.
absl::StatusOr<ModelText> gguf_text(const models::GgufMetadata& metadata);

}  // namespace coppice::server
