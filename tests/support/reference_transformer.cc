// The float64 reference of the Llama family (reference_transformer.h).
#include "tests/support/reference_transformer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/status_macros.h"
#include "models/float_formats.h"

namespace coppice::tests {
namespace {

using models::ModelConfig;
using models::RopeScaling;
using models::WeightSpec;
using Vector = std::vector<double>;

// y = W x + b, W row-major [y, x]; no bias when b is empty.
Vector multiply(const Vector& matrix, const Vector& bias, const Vector& x) {
  Vector y(matrix.size() / x.size());
  for (std::size_t row = 0; row < y.size(); ++row) {
    double sum = bias.empty() ? 0.0 : bias[row];
    for (std::size_t column = 0; column < x.size(); ++column) {
      sum += matrix[row * x.size() + column] * x[column];
    }
    y[row] = sum;
  }
  return y;
}

void add(Vector& x, const Vector& y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] += y[i];
  }
}

// RMSNorm of each run of weight.size() numbers.
Vector normalise(const Vector& x, const Vector& weight, double epsilon) {
  Vector y(x.size());
  for (std::size_t begin = 0; begin < x.size(); begin += weight.size()) {
    double squares = 0.0;
    for (std::size_t i = 0; i < weight.size(); ++i) {
      squares += x[begin + i] * x[begin + i];
    }
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(weight.size()) + epsilon);
    for (std::size_t i = 0; i < weight.size(); ++i) {
      y[begin + i] = x[begin + i] * scale * weight[i];
    }
  }
  return y;
}

// Inverse frequencies straight from the papers' formulas, in float64 (the engine's are float32, as transformers').
Vector inverse_frequency(const models::RopeConfig& rope) {
  const int half = rope.rotary_dim / 2;
  const auto turns_dim = [&](double turns) {
    return rope.rotary_dim * std::log(rope.original_max_positions / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  Vector frequency;
  for (int i = 0; i < half; ++i) {
    double f = std::pow(rope.theta, -2.0 * i / rope.rotary_dim);
    if (rope.scaling == RopeScaling::kLinear) {
      f /= rope.factor;
    } else if (rope.scaling == RopeScaling::kLlama3) {
      const double turns = rope.original_max_positions * f / (2 * std::numbers::pi);
      const double keep = std::clamp(
          (turns - rope.low_frequency_factor) / (rope.high_frequency_factor - rope.low_frequency_factor), 0.0, 1.0);
      f = keep * f + (1 - keep) * f / rope.factor;
    } else if (rope.scaling == RopeScaling::kYarn) {
      double low = turns_dim(rope.beta_fast);
      double high = turns_dim(rope.beta_slow);
      if (rope.truncate) {
        low = std::floor(low);
        high = std::ceil(high);
      }
      low = std::max(low, 0.0);
      high = std::min(high, rope.rotary_dim - 1.0);
      const double ramp = std::clamp((i - low) / (high == low ? 0.001 : high - low), 0.0, 1.0);
      f = ramp * f / rope.factor + (1 - ramp) * f;
    }
    frequency.push_back(f);
  }
  return frequency;
}

class Reader {
 public:
  Reader(const ModelConfig& config, models::WeightSource& source)
      : specs_(models::weight_specs(config)), source_(source) {}

  // The tensor called `name`, or nothing if the model has none of that name.
  absl::Status read(const std::string& name, Vector& target) {
    for (const WeightSpec& spec : specs_) {
      if (spec.name == name) {
        COPPICE_ASSIGN_OR_RETURN(const models::WeightTensor tensor, source_.fetch(spec));
        std::vector<float> floats(static_cast<std::size_t>(spec.elements()));
        models::convert_to_float(tensor.view(), floats);
        target.assign(floats.begin(), floats.end());
      }
    }
    return absl::OkStatus();
  }

 private:
  std::vector<WeightSpec> specs_;
  models::WeightSource& source_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const ReferenceWeights>> load_reference(const ModelConfig& config,
                                                                       models::WeightSource& source) {
  auto loaded = std::make_shared<ReferenceWeights>();
  loaded->config = config;
  Reader reader(config, source);
  COPPICE_RETURN_IF_ERROR(reader.read("model.embed_tokens.weight", loaded->embedding));
  COPPICE_RETURN_IF_ERROR(reader.read("model.norm.weight", loaded->final_norm));
  COPPICE_RETURN_IF_ERROR(reader.read("lm_head.weight", loaded->head));
  if (config.tied_embeddings) {
    loaded->head = loaded->embedding;
  }
  for (int index = 0; index < config.layers; ++index) {
    ReferenceWeights::Layer& layer = loaded->layers.emplace_back();
    const std::pair<const char*, Vector*> tensors[] = {
        {"input_layernorm.weight", &layer.input_norm},  {"post_attention_layernorm.weight", &layer.attention_norm},
        {"self_attn.q_norm.weight", &layer.query_norm}, {"self_attn.k_norm.weight", &layer.key_norm},
        {"self_attn.q_proj.weight", &layer.query},      {"self_attn.k_proj.weight", &layer.key},
        {"self_attn.v_proj.weight", &layer.value},      {"self_attn.o_proj.weight", &layer.output},
        {"mlp.gate_proj.weight", &layer.gate},          {"mlp.up_proj.weight", &layer.up},
        {"mlp.down_proj.weight", &layer.down},          {"self_attn.q_proj.bias", &layer.query_bias},
        {"self_attn.k_proj.bias", &layer.key_bias},     {"self_attn.v_proj.bias", &layer.value_bias},
        {"self_attn.o_proj.bias", &layer.output_bias},  {"mlp.gate_proj.bias", &layer.gate_bias},
        {"mlp.up_proj.bias", &layer.up_bias},           {"mlp.down_proj.bias", &layer.down_bias}};
    for (const auto& [name, target] : tensors) {
      COPPICE_RETURN_IF_ERROR(reader.read("model.layers." + std::to_string(index) + "." + name, *target));
    }
  }
  return loaded;
}

ReferenceSequence::ReferenceSequence(std::shared_ptr<const ReferenceWeights> weights)
    : weights_(std::move(weights)),
      frequency_(inverse_frequency(weights_->config.rope)),
      keys_(weights_->layers.size()),
      values_(weights_->layers.size()) {}

void ReferenceSequence::rotate(Vector& heads) const {
  const auto head_dim = static_cast<std::size_t>(weights_->config.head_dim);
  const std::size_t half = frequency_.size();
  for (std::size_t begin = 0; begin < heads.size(); begin += head_dim) {
    for (std::size_t i = 0; i < half; ++i) {
      const double cosine = std::cos(length_ * frequency_[i]) * weights_->config.rope.attention_factor;
      const double sine = std::sin(length_ * frequency_[i]) * weights_->config.rope.attention_factor;
      const double first = heads[begin + i];
      const double second = heads[begin + half + i];
      heads[begin + i] = first * cosine - second * sine;
      heads[begin + half + i] = second * cosine + first * sine;
    }
  }
}

// The last position (length_) attends to all positions up to itself, within the window.
Vector ReferenceSequence::attend(std::size_t layer, const Vector& query) const {
  const ModelConfig& config = weights_->config;
  const auto head_dim = static_cast<std::size_t>(config.head_dim);
  const auto key_heads = static_cast<std::size_t>(config.key_heads);
  const auto query_heads = static_cast<std::size_t>(config.query_heads);
  const int first = config.sliding_window > 0 ? std::max(0, length_ - config.sliding_window + 1) : 0;
  Vector out(query.size());
  for (std::size_t head = 0; head < query_heads; ++head) {
    const std::size_t key_head = head / (query_heads / key_heads);
    Vector scores;
    for (int position = first; position <= length_; ++position) {
      const std::size_t at = (static_cast<std::size_t>(position) * key_heads + key_head) * head_dim;
      double score = 0.0;
      for (std::size_t i = 0; i < head_dim; ++i) {
        score += query[head * head_dim + i] * keys_[layer][at + i];
      }
      scores.push_back(score / std::sqrt(static_cast<double>(head_dim)));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (double& score : scores) {
      score = std::exp(score - largest);
      sum += score;
    }
    for (std::size_t k = 0; k < scores.size(); ++k) {
      const std::size_t at = ((static_cast<std::size_t>(first) + k) * key_heads + key_head) * head_dim;
      for (std::size_t i = 0; i < head_dim; ++i) {
        out[head * head_dim + i] += scores[k] / sum * values_[layer][at + i];
      }
    }
  }
  return out;
}

Vector ReferenceSequence::append(TokenId token) {
  const ModelConfig& config = weights_->config;
  const double epsilon = static_cast<double>(config.norm_epsilon);
  const auto hidden = static_cast<std::ptrdiff_t>(config.hidden);
  const auto row = weights_->embedding.begin() + token * hidden;
  Vector x(row, row + hidden);
  for (std::size_t index = 0; index < weights_->layers.size(); ++index) {
    const ReferenceWeights::Layer& layer = weights_->layers[index];
    const Vector h = normalise(x, layer.input_norm, epsilon);
    Vector query = multiply(layer.query, layer.query_bias, h);
    Vector key = multiply(layer.key, layer.key_bias, h);
    const Vector value = multiply(layer.value, layer.value_bias, h);
    if (config.qk_norm) {
      query = normalise(query, layer.query_norm, epsilon);
      key = normalise(key, layer.key_norm, epsilon);
    }
    rotate(query);
    rotate(key);
    keys_[index].insert(keys_[index].end(), key.begin(), key.end());
    values_[index].insert(values_[index].end(), value.begin(), value.end());
    add(x, multiply(layer.output, layer.output_bias, attend(index, query)));
    const Vector m = normalise(x, layer.attention_norm, epsilon);
    Vector gate = multiply(layer.gate, layer.gate_bias, m);
    const Vector up = multiply(layer.up, layer.up_bias, m);
    for (std::size_t i = 0; i < gate.size(); ++i) {
      gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
    }
    add(x, multiply(layer.down, layer.down_bias, gate));
  }
  ++length_;
  return multiply(weights_->head, {}, normalise(x, weights_->final_norm, epsilon));
}

std::vector<Vector> ReferenceSequence::append(std::span<const TokenId> tokens) {
  std::vector<Vector> logits;
  for (const TokenId token : tokens) {
    logits.push_back(append(token));
  }
  return logits;
}

TokenId greedy_token(std::span<const double> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace coppice::tests
