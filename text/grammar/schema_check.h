// JSON schemas before they become grammars. The grammar engine (XGrammar) drops or weakens many keywords without an
// error; here a schema is bounded, its references are resolved, it is rewritten to what the engine enforces exactly,
// and every keyword that is then still not enforced is listed.
//
// What the rewriting does, so that more is enforced:
//   - `pattern`, `format` and `patternProperties` become expressions of ours (text/grammar/expression.h);
//   - names of additional properties exclude the declared ones, whatever their spelling;
//   - a required name that is not declared is declared; `type` beside `enum` filters its values, beside `anyOf` it goes
//     into the branches; a schema without `type` gets the types that its keywords speak of;
//   - an object with `properties` and without `additionalProperties` takes no others, as in vLLM and SGLang.
// Objects have their properties in the schema's order. Strings with a length, a pattern or a format have none of JSON's
// escapes: no quotes, line ends or backslashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::text {

// Bounds on the work that a schema can ask for. Compile time grows with each of them.
struct SchemaLimits {
  std::size_t bytes_max = std::size_t{512} << 10;  // twice the largest schema in common use that we know
  int depth_max = 64;                              // schemas and values in one another; recursive code reads them
  std::int64_t nodes_max = 10'000;                 // values of the document, and schemas after references
  // Of the properties that an object need not have: the squares of their numbers together, so 500 in one object or 100
  // in each of 25. For 150,000 tokens 500 take 1 to 2 s to compile, 1000 took 9.
  std::int64_t optional_squares_max = 250'000;
  std::int64_t repeat_max = 2000;        // minLength, maxLength, minItems, maxItems and the like
  std::int64_t alternatives_max = 1000;  // of one enum, anyOf or oneOf
  // Characters and classes of all patterns, formats and names beside additional properties together, repetitions
  // written out, as expression.h counts them, the same pattern once. For 150,000 tokens each takes about 1 ms to
  // compile.
  std::int64_t expression_size_max = 3000;
};

struct UnenforcedKeyword {
  std::string pointer;  // of the schema that has it: "#/properties/name"
  std::string keyword;
  std::string reason;

  // "#/properties/name: `not`: is not enforced"
  std::string message() const;
};

struct CheckedSchema {
  std::string json;  // what the engine compiles
  std::vector<UnenforcedKeyword> unenforced;
};

// ERRORS: InvalidArgument for what is no schema, refers outside the document or accepts nothing; OutOfRange for what
// passes a limit. Both name the JSON pointer.
absl::StatusOr<CheckedSchema> check_schema(std::string_view schema, const SchemaLimits& limits = {});

}  // namespace coppice::text
