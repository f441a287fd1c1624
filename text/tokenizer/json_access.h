// Reads the JSON files of a model folder, bounded in size and depth, every field checked.
// ERRORS of every reader: InvalidArgument beginning with `where`, a place such as "tokenizer.json: model.vocab".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace coppice::text {

using Json = nlohmann::json;

// Bytes of a file. The largest tokenizer files in use have about 35 MB.
inline constexpr std::size_t kJsonBytesMax = std::size_t{128} << 20;
// Nested arrays and objects, far more than a tokenizer file has. Bounds the readers' recursion.
inline constexpr std::size_t kJsonDepthMax = 64;
// Tokens. Ids index flat arrays, so this bounds their memory; the largest vocabularies in use have about 2^18.
inline constexpr std::int64_t kVocabularyMax = std::int64_t{1} << 21;

// Returns InvalidArgument "where: what".
absl::Status invalid_field(std::string_view where, std::string_view what);

// Parses `text`, whose top must be an object. `where` is the file's name.
absl::StatusOr<Json> parse_json_object(std::string_view text, std::string_view where);

// Returns a member, or null when it is missing or null, or `object` is not an object.
const Json* find_member(const Json& object, std::string_view key);

// Each returns a member of one type, or `fallback` (or nullopt) when it is missing or null.
// ERRORS: a member of another type.
absl::StatusOr<bool> bool_field(const Json& object, std::string_view key, bool fallback, std::string_view where);
absl::StatusOr<std::optional<bool>> optional_bool_field(const Json& object, std::string_view key,
                                                        std::string_view where);
absl::StatusOr<std::string> string_field(const Json& object, std::string_view key, std::string_view fallback,
                                         std::string_view where);
absl::StatusOr<std::int64_t> integer_field(const Json& object, std::string_view key, std::int64_t fallback,
                                           std::string_view where);
// Returns the member "type" of a component.
// ERRORS: also when it is missing.
absl::StatusOr<std::string> type_field(const Json& object, std::string_view where);
// Returns an array member.
// ERRORS: also when it is missing.
absl::StatusOr<const Json*> array_field(const Json& object, std::string_view key, std::string_view where);

// Returns a token id in [0, kVocabularyMax).
absl::StatusOr<std::int32_t> token_id_value(const Json& value, std::string_view where);

}  // namespace coppice::text
