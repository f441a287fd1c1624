// Reads an added token of tokenizer.json or tokenizer_config.json: a string, or an object with flags.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// Returns the token that `json` describes, with id `id`.
// ERRORS: InvalidArgument beginning with `where`, the place in the file.
absl::StatusOr<AddedToken> added_token_from_json(const Json& json, TokenId id, std::string_view where);

}  // namespace coppice::text
