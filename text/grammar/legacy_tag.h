// Structural tags in the form that they had before XGrammar 0.2, which clients still send:
//   {"type": "structural_tag", "structures": [{"begin", "schema", "end"}, …], "triggers": ["…", …]}
#pragma once

#include "absl/status/statusor.h"
#include "text/grammar/schema_walk.h"

namespace coppice::text {

// Whether `tag` has that form. Any JSON.
bool is_legacy_tag(const SchemaJson& tag);

// Returns the same as a "format" of today: text, in which what begins with a trigger goes on as one of the structures.
// REQUIRES: is_legacy_tag(tag). ERRORS: InvalidArgument, naming the place.
absl::StatusOr<SchemaJson> to_current_tag(const SchemaJson& tag, int white_space_max);

}  // namespace coppice::text
