// A JSON schema from a file as what holds the requests of a benchmark to it.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/constraint.h"
#include "models/model_config.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

struct SchemaGrammar {
  std::shared_ptr<const engine::ConstraintSource> source;
  double vocabulary_ms = 0;  // once a model: reading its tokens
  double compile_ms = 0;     // once a schema
};

// `model` may have more tokens than the tokenizer: a shape. ERRORS: of reading the file; InvalidArgument as
// text::GrammarCompiler.
absl::StatusOr<SchemaGrammar> compile_schema_file(const std::filesystem::path& file, const text::Tokenizer& tokenizer,
                                                  const models::ModelConfig& model);

}  // namespace coppice::server
