// ModelConfig: the Llama family described as data. One forward pass (transformer.h) reads it; a new family is a new row
// in families.cc, never a new forward pass.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "models/quantisation.h"

namespace coppice::models {

enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3, kYarn };

struct RopeConfig {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  double low_frequency_factor = 1.0;        // llama3
  double high_frequency_factor = 4.0;       // llama3
  std::int32_t original_max_positions = 0;  // llama3, yarn
  double beta_fast = 32.0;                  // yarn
  double beta_slow = 1.0;                   // yarn
  double attention_factor = 1.0;            // multiplies cos and sin; yarn's is derived from factor unless given
  bool truncate = true;                     // yarn: the correction range is rounded outwards to whole dimensions
  std::int32_t rotary_dim = 0;              // leading dimensions of a head that rotate
  std::vector<float> divisors = {};         // of the frequencies, one each; empty: all 1
};

// Which projections add a bias.
struct ProjectionBiases {
  bool qkv = false;
  bool output = false;  // of attention
  bool mlp = false;
};

// Everything the forward pass and the limits need to know. Immutable after load. Invariants are checked by
// parse_model_config.
struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM", …
  std::int32_t vocab = 0;
  std::int32_t hidden = 0;
  std::int32_t intermediate = 0;
  std::int32_t layers = 0;
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t max_positions = 0;  // context length, rope scaling included where max_position_embeddings is without it
  float norm_epsilon = 1e-5F;
  RopeConfig rope;
  bool tied_embeddings = false;
  ProjectionBiases biases;
  bool qk_norm = false;             // Qwen3: RMSNorm per head on q and k
  std::int32_t sliding_window = 0;  // 0 = none
  Quantisation quantisation;        // of the matrices in safetensors files
  TokenId bos = -1;
  std::vector<TokenId> eos;        // from config.json and generation_config.json, ascending
  std::vector<std::string> notes;  // what the files say that is ignored; a line each, for the log
};

// Reads FOLDER/config.json, and the end tokens of FOLDER/generation_config.json when there is one.
// ERRORS: NotFound, InvalidArgument naming the field, what came and what is allowed; Unimplemented for other
// architectures.
absl::StatusOr<ModelConfig> load_model_config(const std::filesystem::path& folder);

// The same from text, for shapes under configs/shapes and for tests and fuzzing.
absl::StatusOr<ModelConfig> parse_model_config(const std::string& json_text);

// Adds the end tokens of a generation_config.json to a config. Other fields are ignored: sampling is not the model's.
// ERRORS: InvalidArgument naming the field; the config is then unchanged.
absl::Status parse_generation_config(const std::string& json_text, ModelConfig& config);

// Reads a config.json that stands alone: a shape under configs/shapes. ERRORS: as load_model_config.
absl::StatusOr<ModelConfig> load_model_shape(const std::filesystem::path& file);

}  // namespace coppice::models
