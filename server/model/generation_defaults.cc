// The sampling fields of generation_config.json, read and checked as a request's.
#include "server/model/generation_defaults.h"

#include <fmt/format.h>

#include <limits>
#include <string>

#include "base/file.h"
#include "base/status_macros.h"
#include "models/limits.h"
#include "proto/openai/json_reader.h"

namespace coppice::server {

absl::StatusOr<base::SamplingChoices> load_generation_defaults(const std::filesystem::path& path) {
  base::SamplingChoices recommended;
  const absl::StatusOr<std::string> text = base::read_file(path, models::kConfigBytesMost);
  if (absl::IsNotFound(text.status())) {
    return recommended;
  }
  COPPICE_RETURN_IF_ERROR(text.status());
  openai::RequestLimits limits;
  limits.vocab = std::numeric_limits<TokenId>::max();  // a top_k beyond the vocabulary means all of it
  const auto refuse = [&path](const openai::ApiError& error) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", path.string(), error.message));
  };
  const openai::Result<openai::Json> parsed = openai::parse_json(*text, limits, "the file");
  if (!parsed.ok()) {
    return refuse(parsed.error());
  }
  openai::FieldReader reader(parsed.value());
  const auto read = [&reader](const base::SamplingKnob& knob, auto& value) {
    if (knob.is_recommended) {
      reader.read(knob.name, value);
    }
  };
  base::for_each_sampling_knob(read, recommended);
  if (reader.failed()) {
    return refuse(*reader.error());
  }
  if (const openai::MaybeError error = openai::validate(recommended, limits)) {
    return refuse(*error);
  }
  return recommended;
}

}  // namespace coppice::server
