// The sampling fields of generation_config.json, checked like a request's.
#include "server/model/generation_defaults.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "proto/openai/json_reader.h"

namespace coppice::server {

absl::StatusOr<SamplingDefaults> load_generation_defaults(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return SamplingDefaults{};
  }
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  openai::RequestLimits limits;
  limits.vocab = std::numeric_limits<TokenId>::max();
  limits.model_tokens_max = std::numeric_limits<TokenId>::max();
  const auto refuse = [&path](const openai::ApiError& error) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", path.string(), error.message));
  };
  const openai::Result<openai::Json> parsed = openai::parse_json(text, limits);
  if (!parsed.ok()) {
    return refuse(parsed.error());
  }
  openai::FieldReader reader(parsed.value());
  openai::GenerationRequest request;  // its validate() knows every bound
  request.prompts.emplace_back("x");
  reader.read("temperature", request.sampling.temperature);
  reader.read("top_p", request.sampling.top_p);
  reader.read("min_p", request.sampling.min_p);
  reader.read("repetition_penalty", request.sampling.repetition_penalty);
  reader.read("top_k", request.sampling.top_k);
  if (reader.failed()) {
    return refuse(*reader.error());
  }
  if (const openai::MaybeError error = validate(request, limits)) {
    return refuse(*error);
  }
  SamplingDefaults defaults;
  defaults.temperature = request.sampling.temperature;
  defaults.top_p = request.sampling.top_p;
  defaults.min_p = request.sampling.min_p;
  defaults.repetition_penalty = request.sampling.repetition_penalty;
  defaults.top_k = request.sampling.top_k;
  return defaults;
}

}  // namespace coppice::server
