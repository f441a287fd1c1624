// Pieces that several components of a tokenizer.json share: patterns written as {"String": ..} or {"Regex": ..}.
// Errors name the place in the file.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/pattern.h"

namespace coppice::text {

// The member `key`, {"String": literal} or {"Regex": Oniguruma pattern}, compiled.
// ERRORS: InvalidArgument when malformed, empty, or not supported by Pattern.
absl::StatusOr<Pattern> pattern_field(const Json& object, std::string_view key, std::string_view where);

}  // namespace coppice::text
