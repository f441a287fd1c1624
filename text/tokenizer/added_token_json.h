// An added token as tokenizer.json and tokenizer_config.json write it: a string, or an object with flags.
// Errors name the place in the file.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

absl::StatusOr<AddedToken> added_token_from_json(const Json& json, TokenId id, std::string_view where);

}  // namespace coppice::text
