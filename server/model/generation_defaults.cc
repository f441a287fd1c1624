// The sampling fields of generation_config.json, read and checked as a request's.
#include "server/model/generation_defaults.h"

#include <fmt/format.h>

#include <limits>
#include <string>

#include "base/file.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "models/limits.h"
#include "proto/openai/json_reader.h"

namespace coppice::server {

absl::StatusOr<GenerationDefaults> load_generation_defaults(const std::filesystem::path& path) {
  GenerationDefaults recommended;
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
  std::size_t python_numbers = 0;  // the model's config has them in its notes
  const openai::Result<openai::Json> parsed =
      openai::parse_json(base::without_python_numbers(*text, python_numbers), limits, "the file");
  if (!parsed.ok()) {
    return refuse(parsed.error());
  }
  openai::FieldReader reader(parsed.value());
  const auto read = [&reader](const base::SamplingKnob& knob, auto& value) {
    if (knob.is_recommended) {
      reader.read(knob.name, value);
    }
  };
  base::for_each_sampling_knob(read, recommended.sampling);
  reader.read("max_new_tokens", recommended.max_tokens);
  if (reader.failed()) {
    return refuse(*reader.error());
  }
  if (const openai::MaybeError error = openai::validate(recommended.sampling, limits)) {
    return refuse(*error);
  }
  if (recommended.max_tokens.value_or(1) < 1) {
    return refuse(openai::bad_value(
        "max_new_tokens", fmt::format("'max_new_tokens' must be at least 1; got {}", *recommended.max_tokens)));
  }
  return recommended;
}

}  // namespace coppice::server
