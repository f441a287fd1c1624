// Reading the JSON files of a model folder: bounded in size and depth, every field checked, errors that say where.
// Paths in errors look like "tokenizer.json: model.vocab".
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace coppice::text {

using Json = nlohmann::json;

// Larger than any tokenizer file in use (the largest are near 35 MB), small enough to parse in a second.
inline constexpr std::size_t kJsonBytesMax = std::size_t{128} << 20;
inline constexpr std::size_t kJsonDepthMax = 64;
// No vocabulary in use comes near; ids index flat arrays.
inline constexpr std::int64_t kVocabularyMax = std::int64_t{1} << 21;

absl::Status invalid_field(std::string_view where, std::string_view what);

// ERRORS: NotFound; InvalidArgument when larger than `bytes_max` or not readable.
absl::StatusOr<std::string> read_bounded_file(const std::filesystem::path& path, std::size_t bytes_max = kJsonBytesMax);

// Parses and demands an object at the top. `where` begins the error messages (the file's name).
absl::StatusOr<Json> parse_json_object(std::string_view text, std::string_view where);

// A member, or null when it is missing, null, or `object` is no object.
const Json* find_member(const Json& object, std::string_view key);

// A member of a known type; `fallback` (or nothing) when missing or null; an error when it has another type.
absl::StatusOr<bool> bool_field(const Json& object, std::string_view key, bool fallback, std::string_view where);
absl::StatusOr<std::optional<bool>> optional_bool_field(const Json& object, std::string_view key,
                                                        std::string_view where);
absl::StatusOr<std::string> string_field(const Json& object, std::string_view key, std::string_view fallback,
                                         std::string_view where);
absl::StatusOr<std::int64_t> integer_field(const Json& object, std::string_view key, std::int64_t fallback,
                                           std::string_view where);
// The member "type" of a component; an error when missing.
absl::StatusOr<std::string> type_field(const Json& object, std::string_view where);
// An array member; an error when missing or another type.
absl::StatusOr<const Json*> array_field(const Json& object, std::string_view key, std::string_view where);

// A token id within 0 .. kVocabularyMax - 1.
absl::StatusOr<std::int32_t> token_id_value(const Json& value, std::string_view where);

}  // namespace coppice::text
