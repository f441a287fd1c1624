// The table of model families (families.h).
#include "models/families.h"

#include <fmt/format.h>

namespace coppice::models {
namespace {

constexpr Family kFamilies[] = {
    {.architecture = "LlamaForCausalLM",
     .model_type = "llama",
     .models = "Llama 1 to 3.2, CodeLlama, TinyLlama, SmolLM2",
     .qkv_bias = BiasRule::kAttentionBiasField,
     .output_bias = BiasRule::kAttentionBiasField,
     .mlp_bias = BiasRule::kMlpBiasField,
     .qk_norm = false,
     .window = WindowRule::kNever,
     .vocab = 32000,
     .intermediate = 11008,
     .key_heads = 0,
     .head_dim = 0,
     .max_positions = 2048,
     .bos = 1,
     .eos = 2},
    {.architecture = "MistralForCausalLM",
     .model_type = "mistral",
     .models = "Mistral",
     .qkv_bias = BiasRule::kNever,
     .output_bias = BiasRule::kNever,
     .mlp_bias = BiasRule::kNever,
     .qk_norm = false,
     .window = WindowRule::kSlidingWindowField,
     .vocab = 32000,
     .intermediate = 14336,
     .key_heads = 8,
     .head_dim = 0,
     .max_positions = 131072,
     .bos = 1,
     .eos = 2},
    {.architecture = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .models = "Qwen2, Qwen2.5",
     .qkv_bias = BiasRule::kAlways,
     .output_bias = BiasRule::kNever,
     .mlp_bias = BiasRule::kNever,
     .qk_norm = false,
     .window = WindowRule::kUseSlidingWindowField,
     .vocab = 151936,
     .intermediate = 22016,
     .key_heads = 32,
     .head_dim = 0,
     .max_positions = 32768,
     .bos = -1,
     .eos = -1},
    {.architecture = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .models = "Qwen3",
     .qkv_bias = BiasRule::kAttentionBiasField,
     .output_bias = BiasRule::kAttentionBiasField,
     .mlp_bias = BiasRule::kNever,
     .qk_norm = true,
     .window = WindowRule::kUseSlidingWindowField,
     .vocab = 151936,
     .intermediate = 22016,
     .key_heads = 32,
     .head_dim = 128,
     .max_positions = 32768,
     .bos = -1,
     .eos = -1},
};

}  // namespace

std::span<const Family> families() {
  return kFamilies;
}

const Family* find_family(const std::string& architecture, const std::string& model_type) {
  for (const Family& family : kFamilies) {
    if (architecture.empty() ? model_type == family.model_type : architecture == family.architecture) {
      return &family;
    }
  }
  return nullptr;
}

std::string supported_architectures() {
  std::string list;
  for (const Family& family : kFamilies) {
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", family.architecture, family.models);
  }
  return list;
}

}  // namespace coppice::models
