// Rotary embedding: configuration and inverse frequencies (rope.h).
#include "models/rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "absl/status/status.h"
#include "models/families.h"
#include "models/json_text.h"
#include "models/limits.h"

namespace coppice::models {
namespace {

constexpr double kThetaMost = 1e12;  // base of wavelengths; known models stay below 1e10
constexpr double kFactorMost = 1e6;  // any factor of a scaling: times kPositionsMost it stays far below 2^53
constexpr double kSmallest = 1e-6;   // stands for "greater than 0"

// The object that describes scaling: rope_scaling when it is given, else rope_parameters; null: neither.
const nlohmann::json* find_scaling(JsonFields& fields) {
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    if (fields.has(name)) {
      const nlohmann::json* scaling = fields.find(name);
      if (!scaling->is_object()) {
        fields.complain(fmt::format("{} must be an object or null, got {}", name, json_excerpt(*scaling)));
        return nullptr;
      }
      if (!scaling->empty()) {
        return scaling;
      }
    }
  }
  return nullptr;
}

RopeScaling read_kind(JsonFields& fields) {
  const std::string kind = fields.text("rope_type", fields.text("type", "default"));
  if (kind == "default") {
    return RopeScaling::kNone;
  }
  if (kind == "linear") {
    return RopeScaling::kLinear;
  }
  if (kind == "llama3") {
    return RopeScaling::kLlama3;
  }
  if (kind == "yarn") {
    return RopeScaling::kYarn;
  }
  if (fields.status().ok()) {
    fields.fail(absl::UnimplementedError(
        fmt::format("{}: rope type {} is not supported; supported: default, linear, llama3, yarn", fields.where(),
                    json_excerpt(nlohmann::json(kind)))));
  }
  return RopeScaling::kNone;
}

double magnitude(double scale, double multiplier) {
  return scale <= 1.0 ? 1.0 : 0.1 * multiplier * std::log(scale) + 1.0;
}

void read_yarn(JsonFields& fields, std::int32_t max_positions, RopeConfig& rope) {
  rope.beta_fast = fields.number("beta_fast", rope.beta_fast, 0.0, kFactorMost);
  rope.beta_slow = fields.number("beta_slow", rope.beta_slow, 0.0, kFactorMost);
  rope.beta_fast = rope.beta_fast == 0.0 ? 32.0 : rope.beta_fast;
  rope.beta_slow = rope.beta_slow == 0.0 ? 1.0 : rope.beta_slow;
  if (rope.beta_fast < rope.beta_slow) {
    fields.complain(fmt::format("beta_fast must be at least beta_slow ({}), got {}", rope.beta_slow, rope.beta_fast));
  }
  rope.truncate = fields.boolean("truncate", true);
  if (!fields.has("factor")) {
    rope.factor = static_cast<double>(max_positions) / rope.original_max_positions;
  }
  const double mscale = fields.number("mscale", 0.0, 0.0, kFactorMost);
  const double mscale_all = fields.number("mscale_all_dim", 0.0, 0.0, kFactorMost);
  const double derived = mscale != 0.0 && mscale_all != 0.0
                             ? magnitude(rope.factor, mscale) / magnitude(rope.factor, mscale_all)
                             : magnitude(rope.factor, 1.0);
  rope.attention_factor = fields.number("attention_factor", derived, kSmallest, kFactorMost);
}

void read_llama3(JsonFields& fields, RopeConfig& rope) {
  for (const char* name : {"low_freq_factor", "high_freq_factor"}) {
    if (!fields.has(name)) {
      fields.complain(fmt::format("{} is missing", name));
    }
  }
  rope.low_frequency_factor = fields.number("low_freq_factor", 1.0, kSmallest, kFactorMost);
  rope.high_frequency_factor = fields.number("high_freq_factor", 4.0, kSmallest, kFactorMost);
  if (rope.high_frequency_factor <= rope.low_frequency_factor) {
    fields.complain(fmt::format("high_freq_factor must be greater than low_freq_factor ({}), got {}",
                                rope.low_frequency_factor, rope.high_frequency_factor));
  }
}

void check_partial_rotation(JsonFields& fields) {
  const double part = fields.number("partial_rotary_factor", 1.0, 0.0, 1.0);
  if (part != 1.0 && fields.status().ok()) {
    fields.fail(absl::UnimplementedError(
        fmt::format("{}: partial_rotary_factor {} is not supported; supported: 1", fields.where(), part)));
  }
}

// original_max_position_embeddings: beside the scaling object it beats the one inside (as transformers has it).
std::int32_t read_original_positions(JsonFields& top, JsonFields& fields, std::int32_t max_positions) {
  constexpr const char* kName = "original_max_position_embeddings";
  const std::int64_t inner = fields.integer(kName, max_positions, 1, kPositionsMost);
  return static_cast<std::int32_t>(top.integer(kName, inner, 1, kPositionsMost));
}

void read_scaling(JsonFields& top, JsonFields& fields, std::int32_t max_positions, RopeConfig& rope) {
  for (const char* nested : {"full_attention", "sliding_attention"}) {
    if (fields.has(nested)) {
      fields.fail(absl::UnimplementedError(
          fmt::format("{}: rope parameters per layer type ({}) are not supported", fields.where(), nested)));
    }
  }
  rope.scaling = read_kind(fields);
  rope.theta = fields.number("rope_theta", rope.theta, 1.0 + kSmallest, kThetaMost);
  check_partial_rotation(fields);
  if (rope.scaling == RopeScaling::kNone) {
    return;
  }
  if (!fields.has("factor") && rope.scaling != RopeScaling::kYarn) {
    fields.complain("factor is missing");
  }
  rope.factor = fields.number("factor", 1.0, kSmallest, kFactorMost);
  if (rope.scaling == RopeScaling::kLinear) {
    return;
  }
  rope.original_max_positions = read_original_positions(top, fields, max_positions);
  if (rope.scaling == RopeScaling::kYarn) {
    read_yarn(fields, max_positions, rope);
  } else {
    read_llama3(fields, rope);
  }
}

// theta^(2i / rotary_dim): positions per radian, unscaled.
float radius(const RopeConfig& rope, std::size_t i) {
  return std::pow(static_cast<float>(rope.theta), static_cast<float>(2 * i) / static_cast<float>(rope.rotary_dim));
}

void scale_llama3(const RopeConfig& rope, std::vector<float>& frequency) {
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_frequency_factor);
  const auto high = static_cast<float>(rope.high_frequency_factor);
  const auto original = static_cast<float>(rope.original_max_positions);
  for (float& value : frequency) {
    const float wavelength = 2.0F * std::numbers::pi_v<float> / value;
    if (wavelength > original / low) {
      value /= factor;
    } else if (wavelength >= original / high) {
      const float smooth = (original / wavelength - low) / (high - low);
      value = (1.0F - smooth) * value / factor + smooth * value;
    }
  }
}

// Dimension (of rotary_dim) whose wavelength turns `rotations` times within the original context (YaRN, section 3.2).
double correction_dim(const RopeConfig& rope, double rotations) {
  return rope.rotary_dim * std::log(rope.original_max_positions / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(rope.theta));
}

void scale_yarn(const RopeConfig& rope, std::vector<float>& frequency) {
  double low = correction_dim(rope, rope.beta_fast);
  double high = correction_dim(rope, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rope.rotary_dim - 1.0);
  auto span = static_cast<float>(high - low);
  if (span == 0.0F) {
    span = 0.001F;  // as transformers: no division by zero
  }
  for (std::size_t i = 0; i < frequency.size(); ++i) {
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / span;
    const float extrapolation = 1.0F - std::clamp(ramp, 0.0F, 1.0F);
    const float interpolated = 1.0F / (static_cast<float>(rope.factor) * radius(rope, i));
    frequency[i] = interpolated * (1.0F - extrapolation) + frequency[i] * extrapolation;
  }
}

}  // namespace

absl::StatusOr<RopeConfig> parse_rope(const nlohmann::json& config, std::int32_t head_dim, std::int32_t max_positions) {
  JsonFields top(config, "config.json");
  RopeConfig rope;
  rope.rotary_dim = head_dim;
  rope.theta = top.number("rope_theta", kDefaultRopeTheta, 1.0 + kSmallest, kThetaMost);
  check_partial_rotation(top);
  const nlohmann::json* scaling = find_scaling(top);
  if (!top.status().ok()) {
    return top.status();
  }
  if (scaling == nullptr) {
    return rope;
  }
  JsonFields fields(*scaling, top.has("rope_scaling") ? "config.json: rope_scaling" : "config.json: rope_parameters");
  read_scaling(top, fields, max_positions, rope);
  if (!fields.status().ok()) {
    return fields.status();
  }
  if (!top.status().ok()) {
    return top.status();
  }
  return rope;
}

std::int32_t scaled_max_positions(const RopeConfig& rope, std::int32_t max_positions) {
  double length = max_positions;
  if (rope.scaling == RopeScaling::kYarn) {
    length = rope.original_max_positions * rope.factor;
  } else if (rope.scaling == RopeScaling::kLinear) {
    length = max_positions * rope.factor;
  }
  return static_cast<std::int32_t>(std::clamp(length, 1.0, static_cast<double>(kPositionsMost)));
}

std::vector<float> rope_inverse_frequency(const RopeConfig& rope) {
  std::vector<float> frequency(static_cast<std::size_t>(rope.rotary_dim / 2));
  for (std::size_t i = 0; i < frequency.size(); ++i) {
    frequency[i] = 1.0F / radius(rope, i);
  }
  if (rope.scaling == RopeScaling::kLinear) {
    for (float& value : frequency) {
      value /= static_cast<float>(rope.factor);
    }
  } else if (rope.scaling == RopeScaling::kLlama3) {
    scale_llama3(rope, frequency);
  } else if (rope.scaling == RopeScaling::kYarn) {
    scale_yarn(rope, frequency);
  }
  for (std::size_t i = 0; i < rope.divisors.size(); ++i) {
    frequency[i] /= rope.divisors[i];
  }
  return frequency;
}

}  // namespace coppice::models
