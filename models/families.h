// The model families as data: what differs between them is a row of one table, and there is one forward pass
// (transformer.h). Defaults are those of Hugging Face transformers' configuration classes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace coppice::models {

// Whether a projection carries a bias vector.
enum class BiasRule : std::uint8_t { kNever, kAlways, kAttentionBiasField, kMlpBiasField };

// When attention is limited to a sliding window.
enum class WindowRule : std::uint8_t {
  kNever,
  kSlidingWindowField,     // sliding_window, null = none (Mistral)
  kUseSlidingWindowField,  // use_sliding_window, sliding_window, max_window_layers, layer_types (Qwen)
};

// One family. Immutable, static storage.
struct Family {
  const char* architecture;  // config.json: architectures[0]
  const char* model_type;    // config.json: model_type
  const char* models;        // which models people know it by
  BiasRule qkv_bias;
  BiasRule output_bias;
  BiasRule mlp_bias;
  bool qk_norm;  // RMSNorm per head on q and k before rotation
  WindowRule window;
  // Defaults of fields that config.json may leave out. 0: derived (key_heads = heads, head_dim = hidden / heads).
  std::int32_t vocab;
  std::int32_t intermediate;
  std::int32_t key_heads;
  std::int32_t head_dim;
  std::int32_t max_positions;
  std::int32_t bos;  // -1: none
  std::int32_t eos;  // -1: none
};

// Shared by all four configuration classes.
inline constexpr std::int32_t kDefaultHidden = 4096;
inline constexpr std::int32_t kDefaultLayers = 32;
inline constexpr std::int32_t kDefaultHeads = 32;
inline constexpr std::int32_t kDefaultWindow = 4096;
inline constexpr std::int32_t kDefaultMaxWindowLayers = 28;
inline constexpr double kDefaultNormEpsilon = 1e-6;
inline constexpr double kDefaultRopeTheta = 10000.0;

std::span<const Family> families();

// The family of config.json's `architectures` entry, or, when that is empty, of its `model_type`; null: not one of
// ours.
const Family* find_family(const std::string& architecture, const std::string& model_type);

// "LlamaForCausalLM (Llama 1, …), MistralForCausalLM (…)": for messages.
std::string supported_architectures();

}  // namespace coppice::models
