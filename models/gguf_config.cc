// A config.json is made of the file's keys, so that one place reads, checks and defaults its fields.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "models/gguf_weights.h"
#include "models/limits.h"

namespace coppice::models {
namespace {

struct Architecture {
  const char* key;   // general.architecture
  const char* name;  // Hugging Face's
};
constexpr std::array kArchitectures = {
    Architecture{"llama", "LlamaForCausalLM"}, Architecture{"mistral", "LlamaForCausalLM"},
    Architecture{"qwen2", "Qwen2ForCausalLM"}, Architecture{"qwen3", "Qwen3ForCausalLM"}};

// Keys under the architecture's name, and what a config.json calls them. All are whole numbers.
struct Field {
  const char* key;
  const char* name;
  bool is_needed = false;
};
constexpr std::array kFields = {
    Field{"embedding_length", "hidden_size", true},          Field{"feed_forward_length", "intermediate_size", true},
    Field{"block_count", "num_hidden_layers", true},         Field{"attention.head_count", "num_attention_heads", true},
    Field{"attention.head_count_kv", "num_key_value_heads"}, Field{"attention.key_length", "head_dim"},
    Field{"context_length", "max_position_embeddings", true}};

// Collects a config.json, and the first error.
class ConfigMaker {
 public:
  ConfigMaker(const GgufModel& model, std::string prefix) : model_(model), prefix_(std::move(prefix)) {}

  // The value of `key`, if it is there and of the type.
  template <typename T>
  std::optional<T> find(const std::string& key) {
    absl::StatusOr<std::optional<T>> value = gguf_value<T>(model_.metadata(), key);
    if (!value.ok()) {
      fail(value.status());
      return std::nullopt;
    }
    return *std::move(value);
  }

  template <typename T>
  std::optional<T> own(const std::string& key) {
    return find<T>(prefix_ + "." + key);
  }

  void add_sizes() {
    for (const Field& field : kFields) {
      if (const auto value = own<std::int64_t>(field.key)) {
        json[field.name] = *value;
      } else if (field.is_needed) {
        fail(absl::InvalidArgumentError(fmt::format("key {}.{} is missing", prefix_, field.key)));
      }
    }
    const auto embedding = model_.tensors().find("token_embd.weight");
    if (embedding == model_.tensors().end()) {
      fail(absl::NotFoundError("tensor token_embd.weight is missing"));
    } else {
      const std::int64_t rows = embedding->second.entry->shape.front();
      json["vocab_size"] = rows;
      const auto tokens = find<std::vector<std::string>>("tokenizer.ggml.tokens");
      if (tokens && static_cast<std::int64_t>(tokens->size()) > rows) {
        fail(absl::InvalidArgumentError(fmt::format(
            "key tokenizer.ggml.tokens: {} tokens, but token_embd.weight has {} rows", tokens->size(), rows)));
      }
    }
    if (!json.contains("head_dim") && status.ok()) {  // llama.cpp's rule, not the family's default
      const auto heads = std::max<std::int64_t>(1, json["num_attention_heads"].get<std::int64_t>());
      json["head_dim"] = json["hidden_size"].get<std::int64_t>() / heads;
    }
    const std::optional<std::int64_t> values = own<std::int64_t>("attention.value_length");
    const std::optional<std::int64_t> keys = own<std::int64_t>("attention.key_length");
    if (values && keys && *values != *keys) {
      fail(absl::UnimplementedError("keys and values of different lengths are not supported"));
    }
    if (own<std::int64_t>("expert_count").value_or(0) > 0) {
      fail(absl::UnimplementedError("a mixture of experts is not supported"));
    }
  }

  void add_parts() {
    json["rms_norm_eps"] = own<double>("attention.layer_norm_rms_epsilon").value_or(1e-5);  // llama.cpp's own
    json["tie_word_embeddings"] = !has("output.weight");
    json["attention_bias"] = has("blk.0.attn_q.bias");
    json["mlp_bias"] = has("blk.0.ffn_up.bias");
    if (const auto window = own<std::int64_t>("attention.sliding_window"); window.value_or(0) > 0) {
      fail(absl::UnimplementedError("a sliding window of attention is not supported in GGUF files"));
    }
    for (const auto& [key, name] : {std::pair("bos", "bos_token_id"), std::pair("eos", "eos_token_id")}) {
      const auto token = find<std::int64_t>(fmt::format("tokenizer.ggml.{}_token_id", key));
      json[name] = token ? nlohmann::json(*token) : nlohmann::json();
    }
    // The end of a turn, where it is another token.
    const auto turn = end_of_turn();
    if (turn && json["eos_token_id"].is_number()) {
      json["eos_token_id"] = nlohmann::json::array({json["eos_token_id"], *turn});
    }
  }

  void add_rope() {
    json["rope_theta"] = own<double>("rope.freq_base").value_or(10000.0);  // llama.cpp's own
    const std::optional<std::int64_t> rotary = own<std::int64_t>("rope.dimension_count");
    const std::int64_t head_dim = json.value("head_dim", std::int64_t{1});
    if (rotary && *rotary != head_dim) {
      json["partial_rotary_factor"] = static_cast<double>(*rotary) / static_cast<double>(head_dim);
    }
    const std::string kind = own<std::string>("rope.scaling.type").value_or("none");
    if (kind == "none") {
      return;
    }
    nlohmann::json scaling = {{"rope_type", kind}};
    scaling["factor"] = own<double>("rope.scaling.factor").value_or(1.0);
    if (const auto original = own<std::int64_t>("rope.scaling.original_context_length"); original && kind == "yarn") {
      scaling["original_max_position_embeddings"] = *original;
    }
    json["rope_scaling"] = std::move(scaling);
  }

  absl::Status status = absl::OkStatus();
  nlohmann::json json;

 private:
  // By the key, or by the spelling that two families have, which many files leave to readers.
  std::optional<std::int64_t> end_of_turn() {
    if (const auto named = find<std::int64_t>("tokenizer.ggml.eot_token_id")) {
      return named;
    }
    const auto tokens = find<std::vector<std::string>>("tokenizer.ggml.tokens");
    for (std::size_t id = 0; tokens && id < tokens->size(); ++id) {
      if ((*tokens)[id] == "<|eot_id|>" || (*tokens)[id] == "<|im_end|>") {
        return static_cast<std::int64_t>(id);
      }
    }
    return std::nullopt;
  }

  bool has(const std::string& tensor) const { return model_.tensors().count(tensor) != 0; }
  void fail(absl::Status problem) {
    if (status.ok()) {
      status = std::move(problem);
    }
  }

  const GgufModel& model_;
  const std::string prefix_;
};

// Llama 3.1's scaling, which the file has as a divisor of every frequency.
absl::StatusOr<std::vector<float>> read_divisors(const GgufModel& model, const ModelConfig& config) {
  const auto found = model.tensors().find("rope_freqs.weight");
  std::vector<float> divisors;
  if (found == model.tensors().end()) {
    return divisors;
  }
  const GgufEntry& entry = *found->second.entry;
  const std::vector<std::int64_t> shape = {config.rope.rotary_dim / 2};
  if (entry.type->name != "F32" || entry.shape != shape) {
    return absl::InvalidArgumentError(
        fmt::format("tensor rope_freqs.weight: expected F32 and {} numbers", shape.front()));
  }
  divisors.resize(static_cast<std::size_t>(shape.front()));
  COPPICE_RETURN_IF_ERROR(found->second.file->read(static_cast<std::size_t>(found->second.offset),
                                                   std::as_writable_bytes(std::span(divisors))));
  for (const float divisor : divisors) {
    if (!(divisor > 0) || divisor > 1e6F) {  // any factor of a scaling
      return absl::InvalidArgumentError("tensor rope_freqs.weight: holds what is no factor of a frequency");
    }
  }
  return divisors;
}

absl::StatusOr<ModelConfig> make_config(const GgufModel& model) {
  COPPICE_ASSIGN_OR_RETURN(const auto named, gguf_value<std::string>(model.metadata(), "general.architecture"));
  const std::string architecture = named.value_or("");
  const auto* const found = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                                         [&](const Architecture& known) { return known.key == architecture; });
  if (found == kArchitectures.end()) {
    return absl::UnimplementedError(
        fmt::format("architecture \"{}\" is not supported; supported: llama, mistral, qwen2, qwen3", architecture));
  }
  ConfigMaker maker(model, architecture);
  maker.json["architectures"] = nlohmann::json::array({found->name});
  maker.add_sizes();
  maker.add_parts();
  maker.add_rope();
  COPPICE_RETURN_IF_ERROR(maker.status);
  COPPICE_ASSIGN_OR_RETURN(ModelConfig config, parse_model_config(maker.json.dump(
                                                   -1, ' ', false, nlohmann::json::error_handler_t::replace)));
  COPPICE_ASSIGN_OR_RETURN(config.rope.divisors, read_divisors(model, config));
  return config;
}

}  // namespace

absl::StatusOr<ModelConfig> gguf_config(const GgufModel& model) {
  absl::StatusOr<ModelConfig> config = make_config(model);
  if (!config.ok()) {
    return absl::Status(config.status().code(),
                        fmt::format("{}: {}", model.path().string(), std::string(config.status().message())));
  }
  return config;
}

}  // namespace coppice::models
