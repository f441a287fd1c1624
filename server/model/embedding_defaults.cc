// Pooling and lengths of embeddings, from the model's files.
#include "server/model/embedding_defaults.h"

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/status_macros.h"
#include "models/json_text.h"
#include "models/limits.h"

namespace coppice::server {
namespace {

using models::JsonFields;
using nlohmann::json;

// The object in a file, or nothing where there is no file. As lenient as the reader of the model's shape: the files are
// the same.
absl::StatusOr<std::optional<json>> read_object(const std::filesystem::path& path) {
  const absl::StatusOr<std::string> text = base::read_file(path, models::kConfigBytesMost);
  if (absl::IsNotFound(text.status())) {
    return std::nullopt;
  }
  COPPICE_RETURN_IF_ERROR(text.status());
  constexpr int kDepthMost = 64;   // of nesting, as in the reader of the shape
  std::size_t python_numbers = 0;  // the reader of the shape notes them
  COPPICE_ASSIGN_OR_RETURN(
      json value,
      models::parse_json(*text, path.string(),
                         {.bytes = models::kConfigBytesMost, .depth = kDepthMost, .python_numbers = &python_numbers}));
  if (!value.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: not a JSON object", path.string()));
  }
  return std::optional(std::move(value));
}

absl::Status read_pooling(const std::filesystem::path& path, EmbeddingDefaults& defaults) {
  COPPICE_ASSIGN_OR_RETURN(const std::optional<json> config, read_object(path));
  if (!config) {
    return absl::OkStatus();
  }
  JsonFields fields(*config, path.string());
  const std::string mode = fields.text("pooling_mode", "");  // as newer versions write it
  const bool last = fields.boolean("pooling_mode_lasttoken", false) || mode == "lasttoken";
  const bool mean = fields.boolean("pooling_mode_mean_tokens", false) || mode == "mean";
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (last == mean) {
    return absl::UnimplementedError(
        fmt::format("{}: embeddings are pooled from the last token or as the mean; this model wants something else",
                    path.string()));
  }
  defaults.pooling = last ? openai::Pooling::kLast : openai::Pooling::kMean;
  return absl::OkStatus();
}

absl::Status read_lengths(const std::filesystem::path& path, EmbeddingDefaults& defaults) {
  COPPICE_ASSIGN_OR_RETURN(const std::optional<json> config, read_object(path));
  if (!config) {
    return absl::OkStatus();
  }
  JsonFields fields(*config, path.string());
  defaults.may_be_cut = fields.boolean("is_matryoshka", false);
  const json* const lengths = fields.find("matryoshka_dimensions");
  if (fields.has("matryoshka_dimensions") && !lengths->is_array()) {
    fields.complain("matryoshka_dimensions must be an array");
  } else if (fields.has("matryoshka_dimensions")) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();  // numbers: more than any vector has
    for (const json& length : *lengths) {
      const json entry = {{"length", length.is_null() ? json("null") : length}};
      JsonFields reader(entry, path.string() + ": matryoshka_dimensions");
      defaults.dimensions.push_back(reader.integer("length", 0, 1, kMost));
      COPPICE_RETURN_IF_ERROR(reader.status());
    }
  }
  defaults.may_be_cut = defaults.may_be_cut || !defaults.dimensions.empty();
  return fields.status();
}

}  // namespace

absl::StatusOr<EmbeddingDefaults> load_embedding_defaults(const std::filesystem::path& folder) {
  EmbeddingDefaults defaults;
  COPPICE_RETURN_IF_ERROR(read_pooling(folder / "1_Pooling" / "config.json", defaults));
  COPPICE_RETURN_IF_ERROR(read_lengths(folder / "config.json", defaults));
  return defaults;
}

}  // namespace coppice::server
