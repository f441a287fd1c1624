// Arguments that are not written as one JSON object: one part of a structural tag for all arguments of a call.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/openai/request.h"
#include "server/output/output_format.h"
#include "text/grammar/schema_check.h"

namespace coppice::server {

struct ArgumentGrammar {
  openai::Json part;
  // What the schema says and `part` does not hold the arguments to; JSON's grammar would.
  std::vector<text::UnenforcedKeyword> unenforced;
};

// kPython: a=1, b="x": the required ones first, values as JSON: Python except for three words, which the parser knows.
// kXml: \n<parameter=k>\nvalue\n</parameter> for each parameter that there is. One that may be a string is text.
// Schemas in `part` have at most `bytes_max` bytes: where they would have more, `part` takes any arguments.
// REQUIRES: a `schema` that check_schema() takes.
ArgumentGrammar argument_grammar(const openai::Json& schema, CallShape shape, std::size_t bytes_max);

}  // namespace coppice::server
