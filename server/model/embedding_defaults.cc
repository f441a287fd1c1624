// Pooling and lengths of embeddings, from the model's files.
#include "server/model/embedding_defaults.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "base/file.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "models/limits.h"
#include "proto/openai/json_reader.h"

namespace coppice::server {
namespace {

using openai::Json;

// The object in a file, or nothing where there is no file.
absl::StatusOr<std::optional<Json>> read_object(const std::filesystem::path& path) {
  const absl::StatusOr<std::string> text = base::read_file(path, models::kConfigBytesMost);
  if (absl::IsNotFound(text.status())) {
    return std::nullopt;
  }
  COPPICE_RETURN_IF_ERROR(text.status());
  std::size_t python_numbers = 0;  // notes may have them
  openai::Result<Json> parsed =
      openai::parse_json(base::without_python_numbers(*text, python_numbers), openai::RequestLimits());
  if (!parsed.ok() || !parsed.value().is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}", path.string(), parsed.ok() ? "not a JSON object" : parsed.error().message));
  }
  return std::optional(std::move(parsed.value()));
}

absl::Status refuse(const std::filesystem::path& path, const openai::FieldReader& reader) {
  return reader.failed() ? absl::InvalidArgumentError(fmt::format("{}: {}", path.string(), reader.error()->message))
                         : absl::OkStatus();
}

absl::Status read_pooling(const std::filesystem::path& path, EmbeddingDefaults& defaults) {
  COPPICE_ASSIGN_OR_RETURN(const std::optional<Json> config, read_object(path));
  if (!config) {
    return absl::OkStatus();
  }
  openai::FieldReader reader(*config);
  bool last = false;
  bool mean = false;
  reader.read("pooling_mode_lasttoken", last);
  reader.read("pooling_mode_mean_tokens", mean);
  std::string mode;  // as newer versions write it
  reader.read("pooling_mode", mode);
  COPPICE_RETURN_IF_ERROR(refuse(path, reader));
  last = last || mode == "lasttoken";
  mean = mean || mode == "mean";
  if (last == mean) {
    return absl::UnimplementedError(
        fmt::format("{}: embeddings are pooled from the last token or as the mean; this model wants something else",
                    path.string()));
  }
  defaults.pooling = last ? openai::Pooling::kLast : openai::Pooling::kMean;
  return absl::OkStatus();
}

absl::Status read_lengths(const std::filesystem::path& path, EmbeddingDefaults& defaults) {
  COPPICE_ASSIGN_OR_RETURN(const std::optional<Json> config, read_object(path));
  if (!config) {
    return absl::OkStatus();
  }
  openai::FieldReader reader(*config);
  reader.read("is_matryoshka", defaults.may_be_cut);
  const Json* const lengths = reader.find("matryoshka_dimensions");
  if (lengths != nullptr && !lengths->is_array()) {
    reader.fail_type("matryoshka_dimensions", "an array of integers", *lengths);
  }
  for (std::size_t i = 0; lengths != nullptr && !reader.failed() && i < lengths->size(); ++i) {
    const std::optional<std::int64_t> length = openai::as_integer((*lengths)[i]);
    if (!length || *length < 1) {
      reader.fail_type("matryoshka_dimensions", "an array of positive integers", (*lengths)[i]);
    } else {
      defaults.dimensions.push_back(*length);
    }
  }
  defaults.may_be_cut = defaults.may_be_cut || !defaults.dimensions.empty();
  return refuse(path, reader);
}

}  // namespace

absl::StatusOr<EmbeddingDefaults> load_embedding_defaults(const std::filesystem::path& folder) {
  EmbeddingDefaults defaults;
  COPPICE_RETURN_IF_ERROR(read_pooling(folder / "1_Pooling" / "config.json", defaults));
  COPPICE_RETURN_IF_ERROR(read_lengths(folder / "config.json", defaults));
  return defaults;
}

}  // namespace coppice::server
