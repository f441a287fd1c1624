// Fuzz target: config.json, and after a zero byte generation_config.json. A config that is accepted must be safe to
// compute with: sizes positive and consistent, frequencies finite, facts without overflow.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "models/inspect.h"
#include "models/model_config.h"
#include "models/rope.h"
#include "models/weights.h"

namespace {

constexpr std::int32_t kListedLayers = 32;  // more would only be slow

void require(bool promise) {
  if (!promise) {
    std::abort();
  }
}

void check(const coppice::models::ModelConfig& config) {
  require(config.vocab > 0 && config.hidden > 0 && config.intermediate > 0 && config.layers > 0);
  require(config.key_heads > 0 && config.query_heads % config.key_heads == 0);
  require(config.head_dim > 0 && config.head_dim % 2 == 0 && config.rope.rotary_dim == config.head_dim);
  require(config.max_positions > 0 && config.sliding_window >= 0 && config.norm_epsilon > 0.0F);
  require(config.bos >= -1 && config.bos < config.vocab);
  for (const coppice::TokenId token : config.eos) {
    require(token >= 0 && token < config.vocab);
  }
  for (const float frequency : coppice::models::rope_inverse_frequency(config.rope)) {
    require(std::isfinite(frequency));
  }
  require(std::isfinite(config.rope.attention_factor));
  if (config.layers <= kListedLayers) {
    const auto facts = coppice::models::model_facts(config, coppice::models::stored_as(config, {}),
                                                    coppice::kernels::formats_of(coppice::kernels::ComputeType::kF32),
                                                    [](coppice::kernels::WeightFormat) { return true; });
    require(facts.parameters > 0 && facts.weight_bytes / 4 >= static_cast<std::size_t>(facts.parameters));
    require(!coppice::models::format_model_facts(facts, std::size_t{1} << 34).empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text.push_back(static_cast<char>(data[i]));
  }
  const std::size_t zero = text.find('\0');
  auto config = coppice::models::parse_model_config(text.substr(0, zero));
  if (!config.ok()) {
    require(!config.status().message().empty());
    return 0;
  }
  check(*config);
  if (zero != std::string::npos && coppice::models::parse_generation_config(text.substr(zero + 1), *config).ok()) {
    check(*config);
  }
  return 0;
}
