// Reading config.json and generation_config.json (model_config.h).
#include "models/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "models/families.h"
#include "models/json_text.h"
#include "models/limits.h"
#include "models/rope.h"

namespace coppice::models {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kGenerationFile = "generation_config.json";
constexpr std::int64_t kTokenMost = std::numeric_limits<std::int32_t>::max();  // that a file may name
constexpr double kNormEpsilonLeast = 1e-12;                                    // a row of zeros must not divide by zero

std::int32_t integer(JsonFields& fields, const char* name, std::int32_t fallback, std::int32_t least,
                     std::int32_t most) {
  return static_cast<std::int32_t>(fields.integer(name, fallback, least, most));
}

absl::StatusOr<nlohmann::json> parse_object(const std::string& text, const char* what,
                                            std::vector<std::string>& notes) {
  std::size_t python_numbers = 0;
  const JsonLimits limits = {.bytes = kConfigBytesMost, .depth = 64, .python_numbers = &python_numbers};
  COPPICE_ASSIGN_OR_RETURN(nlohmann::json value, parse_json(text, what, limits));
  if (python_numbers > 0) {
    notes.push_back(fmt::format("{}: {} numbers are NaN or Infinity: read as absent", what, python_numbers));
  }
  if (!value.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: must be a JSON object, got {}", what, json_excerpt(value)));
  }
  return value;
}

absl::StatusOr<const Family*> read_family(const nlohmann::json& json) {
  JsonFields fields(json, kConfigFile);
  std::string architecture;
  if (fields.has("architectures")) {
    const nlohmann::json& list = *fields.find("architectures");
    if (!list.is_array() || list.size() > 1 || (list.size() == 1 && !list[0].is_string())) {
      fields.complain(fmt::format("architectures must be a list of one string, got {}", json_excerpt(list)));
      return fields.status();
    }
    architecture = list.empty() ? "" : list[0].get<std::string>();
  }
  const std::string model_type = fields.text("model_type", "");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (architecture.empty() && model_type.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: architectures is missing", kConfigFile));
  }
  const Family* family = find_family(architecture, model_type);
  if (family == nullptr) {
    return absl::UnimplementedError(fmt::format(
        "{}: architecture {} is not supported; supported: {}", kConfigFile,
        json_excerpt(nlohmann::json(architecture.empty() ? model_type : architecture)), supported_architectures()));
  }
  return family;
}

void refuse_unsupported(JsonFields& fields) {
  const std::string activation = fields.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish" && fields.status().ok()) {
    fields.fail(absl::UnimplementedError(fmt::format("{}: hidden_act {} is not supported; supported: silu", kConfigFile,
                                                     json_excerpt(nlohmann::json(activation)))));
  }
}

bool read_bias(JsonFields& fields, BiasRule rule) {
  switch (rule) {
    case BiasRule::kNever:
      return false;
    case BiasRule::kAlways:
      return true;
    case BiasRule::kAttentionBiasField:
      return fields.boolean("attention_bias", false);
    case BiasRule::kMlpBiasField:
      return fields.boolean("mlp_bias", false);
  }
  return false;
}

void read_sizes(JsonFields& fields, const Family& family, ModelConfig& config) {
  config.vocab = integer(fields, "vocab_size", family.vocab, 1, kVocabMost);
  config.hidden = integer(fields, "hidden_size", kDefaultHidden, 1, kHiddenMost);
  config.intermediate = integer(fields, "intermediate_size", family.intermediate, 1, kIntermediateMost);
  config.layers = integer(fields, "num_hidden_layers", kDefaultLayers, 1, kLayersMost);
  config.query_heads = integer(fields, "num_attention_heads", kDefaultHeads, 1, kHeadsMost);
  const bool key_heads_derived = fields.is_null("num_key_value_heads") || family.key_heads == 0;
  config.key_heads =
      integer(fields, "num_key_value_heads", key_heads_derived ? config.query_heads : family.key_heads, 1, kHeadsMost);
  if (config.query_heads % config.key_heads != 0) {
    fields.complain(fmt::format("num_attention_heads ({}) must be a multiple of num_key_value_heads ({})",
                                config.query_heads, config.key_heads));
  }
  const bool head_dim_derived = !fields.has("head_dim") && (fields.is_null("head_dim") || family.head_dim == 0);
  if (head_dim_derived && config.hidden % config.query_heads != 0) {
    fields.complain(
        fmt::format("hidden_size ({}) must be a multiple of num_attention_heads ({}) unless head_dim is given",
                    config.hidden, config.query_heads));
  }
  const std::int32_t head_dim = head_dim_derived ? config.hidden / config.query_heads : family.head_dim;
  config.head_dim = integer(fields, "head_dim", head_dim, 1, kHeadDimMost);
  if (config.head_dim % 2 != 0 || config.head_dim > kHeadDimMost) {
    fields.complain(fmt::format("head_dim must be an even number from 2 to {}, got {}", kHeadDimMost, config.head_dim));
  }
}

// The layers that slide, when use_sliding_window is on: those that layer_types calls so, else those from
// max_window_layers on.
std::int64_t sliding_layers(JsonFields& fields, std::int32_t layers) {
  if (!fields.has("layer_types")) {
    return layers - std::min<std::int64_t>(
                        layers, fields.integer("max_window_layers", kDefaultMaxWindowLayers, 0, kPositionsMost));
  }
  const nlohmann::json& types = *fields.find("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(layers)) {
    fields.complain(fmt::format("layer_types must be a list of {} strings", layers));
    return 0;
  }
  std::int64_t sliding = 0;
  for (const nlohmann::json& type : types) {
    sliding += type == "sliding_attention" ? 1 : 0;
    if (type != "sliding_attention" && type != "full_attention") {
      fields.complain(
          fmt::format("layer_types may hold full_attention and sliding_attention, got {}", json_excerpt(type)));
    }
  }
  return sliding;
}

std::int32_t read_window(JsonFields& fields, WindowRule rule, std::int32_t layers) {
  if (rule == WindowRule::kNever) {
    return 0;
  }
  if (rule == WindowRule::kUseSlidingWindowField && !fields.boolean("use_sliding_window", false)) {
    return 0;
  }
  if (fields.is_null("sliding_window")) {
    return 0;
  }
  const std::int32_t window = integer(fields, "sliding_window", kDefaultWindow, 1, kPositionsMost);
  if (rule == WindowRule::kSlidingWindowField) {
    return window;
  }
  const std::int64_t sliding = sliding_layers(fields, layers);
  if (sliding != 0 && sliding != layers && fields.status().ok()) {
    fields.fail(absl::UnimplementedError(
        fmt::format("{}: a sliding window in {} of {} layers is not supported; supported: in all or in none",
                    kConfigFile, sliding, layers)));
  }
  return sliding == layers ? window : 0;
}

// The weights' files say how weights are stored, and are believed.
void check_dtype(JsonFields& fields, std::vector<std::string>& notes) {
  const char* name = fields.has("dtype") ? "dtype" : "torch_dtype";
  const std::string dtype = fields.text(name, "float32");
  if (dtype != "float32" && dtype != "bfloat16" && dtype != "float16") {
    notes.push_back(fmt::format("{}: {} {} is ignored: the weights' files say how they are stored", fields.where(),
                                name, json_excerpt(nlohmann::json(dtype))));
  }
}

// A token, or nothing where the file names one that cannot be drawn: -1, null, or an id beyond the vocabulary.
std::optional<TokenId> read_token(JsonFields& fields, const char* name, const nlohmann::json& value, std::int32_t vocab,
                                  std::vector<std::string>& notes) {
  const nlohmann::json wrapped = {{name, value}};
  JsonFields one(wrapped, fields.where());
  const std::int64_t token = one.integer(name, -1, std::numeric_limits<std::int64_t>::min(), kTokenMost);
  fields.fail(one.status());
  if (token >= 0 && token < vocab) {
    return static_cast<TokenId>(token);
  }
  if (token >= vocab) {
    notes.push_back(
        fmt::format("{}: {} {} is ignored: the vocabulary has {} tokens", fields.where(), name, token, vocab));
  }
  return std::nullopt;
}

// eos_token_id is a number, a list of numbers, or null. `fallback` < 0: none.
std::vector<TokenId> read_end_tokens(JsonFields& fields, std::int32_t fallback, std::int32_t vocab,
                                     std::vector<std::string>& notes) {
  constexpr const char* kName = "eos_token_id";
  const nlohmann::json* value = fields.find(kName);
  std::vector<TokenId> tokens;
  if (value == nullptr && fallback >= 0 && fallback < vocab) {
    tokens.push_back(fallback);
  }
  if (value == nullptr || value->is_null()) {
    return tokens;
  }
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  if (list.size() > static_cast<std::size_t>(kEndTokensMost)) {
    fields.complain(fmt::format("{} may hold at most {} tokens, got {}", kName, kEndTokensMost, list.size()));
    return tokens;
  }
  for (const nlohmann::json& element : list) {
    if (const std::optional<TokenId> token = read_token(fields, kName, element, vocab, notes)) {
      tokens.push_back(*token);
    }
  }
  return tokens;
}

TokenId read_bos(JsonFields& fields, std::int32_t fallback, std::int32_t vocab, std::vector<std::string>& notes) {
  constexpr const char* kName = "bos_token_id";
  const nlohmann::json* value = fields.find(kName);
  if (value == nullptr) {
    return fallback < vocab ? fallback : -1;
  }
  return read_token(fields, kName, *value, vocab, notes).value_or(-1);
}

void add_end_tokens(const std::vector<TokenId>& tokens, std::vector<TokenId>& eos) {
  eos.insert(eos.end(), tokens.begin(), tokens.end());
  std::sort(eos.begin(), eos.end());
  eos.erase(std::unique(eos.begin(), eos.end()), eos.end());
}

}  // namespace

absl::StatusOr<ModelConfig> parse_model_config(const std::string& json_text) {
  ModelConfig config;
  COPPICE_ASSIGN_OR_RETURN(const nlohmann::json json, parse_object(json_text, kConfigFile, config.notes));
  COPPICE_ASSIGN_OR_RETURN(const Family* family, read_family(json));
  JsonFields fields(json, kConfigFile);
  refuse_unsupported(fields);
  config.architecture = family->architecture;
  read_sizes(fields, *family, config);
  config.norm_epsilon = static_cast<float>(fields.number("rms_norm_eps", kDefaultNormEpsilon, kNormEpsilonLeast, 1.0));
  config.tied_embeddings = fields.boolean("tie_word_embeddings", false);
  config.biases.qkv = read_bias(fields, family->qkv_bias);
  config.biases.output = read_bias(fields, family->output_bias);
  config.biases.mlp = read_bias(fields, family->mlp_bias);
  config.qk_norm = family->qk_norm;
  if (fields.has("quantization_config")) {
    COPPICE_ASSIGN_OR_RETURN(
        config.quantisation,
        parse_quantisation(*fields.find("quantization_config"), fmt::format("{}: quantization_config", kConfigFile)));
  }
  config.sliding_window = read_window(fields, family->window, config.layers);
  check_dtype(fields, config.notes);
  config.bos = read_bos(fields, family->bos, config.vocab, config.notes);
  add_end_tokens(read_end_tokens(fields, family->eos, config.vocab, config.notes), config.eos);
  const std::int32_t positions = integer(fields, "max_position_embeddings", family->max_positions, 1, kPositionsMost);
  COPPICE_RETURN_IF_ERROR(fields.status());
  COPPICE_ASSIGN_OR_RETURN(config.rope, parse_rope(json, config.head_dim, positions));
  config.max_positions = scaled_max_positions(config.rope, positions);
  return config;
}

absl::Status parse_generation_config(const std::string& json_text, ModelConfig& config) {
  std::vector<std::string> notes;
  COPPICE_ASSIGN_OR_RETURN(const nlohmann::json json, parse_object(json_text, kGenerationFile, notes));
  JsonFields fields(json, kGenerationFile);
  const std::vector<TokenId> tokens = read_end_tokens(fields, -1, config.vocab, notes);
  COPPICE_RETURN_IF_ERROR(fields.status());
  add_end_tokens(tokens, config.eos);
  config.notes.insert(config.notes.end(), notes.begin(), notes.end());
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> load_model_shape(const std::filesystem::path& file) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(file, kConfigBytesMost));
  absl::StatusOr<ModelConfig> config = parse_model_config(text);
  if (!config.ok()) {
    // Messages of the parser open with "config.json: "; here the whole path stands in its place.
    const std::string message(config.status().message());
    const std::string opening = fmt::format("{}: ", kConfigFile);
    return absl::Status(
        config.status().code(),
        fmt::format("{}: {}", file.string(), message.starts_with(opening) ? message.substr(opening.size()) : message));
  }
  return config;
}

absl::StatusOr<ModelConfig> load_model_config(const std::filesystem::path& folder) {
  COPPICE_ASSIGN_OR_RETURN(ModelConfig config, load_model_shape(folder / kConfigFile));
  const absl::StatusOr<std::string> text = base::read_file(folder / kGenerationFile, kConfigBytesMost);
  if (absl::IsNotFound(text.status())) {
    return config;
  }
  COPPICE_RETURN_IF_ERROR(text.status());
  COPPICE_RETURN_IF_ERROR(parse_generation_config(*text, config));
  return config;
}

}  // namespace coppice::models
