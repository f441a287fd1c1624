// What a request asks its output to match.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "text/grammar/schema_check.h"

namespace coppice::text {

enum class GrammarKind : std::uint8_t {
  kJsonObject,     // any JSON object
  kJsonSchema,     // text: the schema
  kRegex,          // text: an expression (ECMAScript) that the whole output matches
  kEbnf,           // text: a grammar in XGrammar's EBNF with the rule `root`
  kChoice,         // one of choices
  kStructuralTag,  // text: XGrammar's structural tag as JSON
};

struct GrammarSpec {
  GrammarKind kind = GrammarKind::kJsonObject;
  std::string text = {};
  std::vector<std::string> choices = {};
  // Of schemas, also those inside a structural tag: a keyword that cannot be enforced is an error.
  bool strict = false;
};

// Returns the spec as one text, the same for specs that differ in JSON's white space only. The order of names counts.
std::string canonical_text(const GrammarSpec& spec);

// What the grammar engine is given for a spec.
struct CheckedSpec {
  GrammarKind kind = GrammarKind::kJsonSchema;  // kJsonSchema, kRegex, kEbnf or kStructuralTag
  std::string text;
  std::vector<UnenforcedKeyword> unenforced;
};

// ERRORS: InvalidArgument and OutOfRange, naming place and limit; with `strict` also for an unenforced keyword.
absl::StatusOr<CheckedSpec> check_spec(const GrammarSpec& spec, const SchemaLimits& limits, int white_space_max);

}  // namespace coppice::text
