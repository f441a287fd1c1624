// Reads what several components of a tokenizer.json share: patterns, written {"String": ..} or {"Regex": ..}.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/pattern.h"

namespace coppice::text {

// Returns the member `key`, {"String": literal} or {"Regex": Oniguruma pattern}, compiled.
// ERRORS: InvalidArgument beginning with `where` when it is malformed, empty, or not supported by Pattern.
absl::StatusOr<Pattern> pattern_field(const Json& object, std::string_view key, std::string_view where);

}  // namespace coppice::text
