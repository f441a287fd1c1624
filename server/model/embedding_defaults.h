// What the files of a model say about embeddings made with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/openai/embedding.h"

namespace coppice::server {

// A value.
struct EmbeddingDefaults {
  openai::Pooling pooling = openai::Pooling::kLast;
  bool may_be_cut = false;               // vectors keep their meaning when they are cut (arXiv 2205.13147)
  std::vector<std::int64_t> dimensions;  // the lengths that the makers name; empty, though they may be cut: any
};

// Reads FOLDER/1_Pooling/config.json, as sentence-transformers writes it, and of FOLDER/config.json `is_matryoshka` and
// `matryoshka_dimensions`, as vLLM reads them; both may be absent. ERRORS: InvalidArgument naming the file and what is
// wrong with it; Unimplemented for a pooling that is neither of the last token nor the mean.
absl::StatusOr<EmbeddingDefaults> load_embedding_defaults(const std::filesystem::path& folder);

}  // namespace coppice::server
