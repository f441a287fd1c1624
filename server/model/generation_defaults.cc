// The sampling fields of generation_config.json, read and checked as a request's.
#include "server/model/generation_defaults.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "proto/openai/json_reader.h"

namespace coppice::server {

absl::StatusOr<base::SamplingChoices> load_generation_defaults(const std::filesystem::path& path) {
  base::SamplingChoices recommended;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return recommended;
  }
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  openai::RequestLimits limits;
  limits.vocab = std::numeric_limits<TokenId>::max();  // a top_k beyond the vocabulary means all of it
  const auto refuse = [&path](const openai::ApiError& error) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", path.string(), error.message));
  };
  const openai::Result<openai::Json> parsed = openai::parse_json(text, limits);
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
