// Reads and compiles a benchmark's schema, and times it.
#include "server/bench/schema_grammar.h"

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "server/structured/grammar_constraint.h"
#include "text/grammar/grammar.h"

namespace coppice::server {
namespace {

constexpr std::size_t kSchemaBytesMax = std::size_t{1} << 20;  // bytes: more than the server takes

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

absl::StatusOr<SchemaGrammar> compile_schema_file(const std::filesystem::path& file, const text::Tokenizer& tokenizer,
                                                  const models::ModelConfig& model) {
  SchemaGrammar result;
  COPPICE_ASSIGN_OR_RETURN(std::string schema, base::read_file(file, kSchemaBytesMax));
  auto begin = std::chrono::steady_clock::now();
  COPPICE_ASSIGN_OR_RETURN(const auto compiler, text::GrammarCompiler::create(tokenizer, model.vocab, model.eos));
  result.vocabulary_ms = ms_since(begin);
  begin = std::chrono::steady_clock::now();
  COPPICE_ASSIGN_OR_RETURN(text::CompiledGrammar grammar,
                           compiler->compile({.kind = text::GrammarKind::kJsonSchema, .text = std::move(schema)}));
  result.compile_ms = ms_since(begin);
  result.source = std::make_shared<const GrammarSource>(std::move(grammar));
  return result;
}

}  // namespace coppice::server
