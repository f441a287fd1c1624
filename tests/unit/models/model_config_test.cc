// config.json and generation_config.json: families, defaults, bounds, messages.
#include "models/model_config.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "models/families.h"
#include "models/weights.h"
#include "tests/support/source_folder.h"

namespace coppice::models {
namespace {

using nlohmann::json;

std::filesystem::path shape_file(const std::string& name) {
  return std::filesystem::path(coppice::test::source_path("configs/shapes")) / (name + ".json");
}

json small(const char* architecture = "LlamaForCausalLM") {
  return {{"architectures", {architecture}}, {"vocab_size", 64},       {"hidden_size", 32},
          {"intermediate_size", 48},         {"num_hidden_layers", 3}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2},        {"eos_token_id", 2}};
}

ModelConfig parsed(const json& config) {
  absl::StatusOr<ModelConfig> result = parse_model_config(config.dump());
  INFO(result.status().ToString());
  REQUIRE(result.ok());
  return *result;
}

void require_error(const json& config, absl::StatusCode code, const std::string& part) {
  const absl::StatusOr<ModelConfig> result = parse_model_config(config.dump());
  REQUIRE_FALSE(result.ok());
  INFO(result.status().ToString());
  CHECK(result.status().code() == code);
  CHECK(std::string(result.status().message()).find(part) != std::string::npos);
}

json with(const char* field, const json& value, const char* architecture = "LlamaForCausalLM") {
  json config = small(architecture);
  config[field] = value;
  return config;
}

TEST_CASE("the shapes of the benchmark have the published numbers of parameters") {
  // 8b, 13b, 34b, 70b: the counts on the model cards of Llama-3.1-8B, CodeLlama-13B, CodeLlama-34B, Llama-3.1-70B.
  const std::pair<const char*, std::int64_t> expected[] = {{"160m", 152'980'224},   {"1b", 1'100'048'384},
                                                           {"8b", 8'030'261'248},   {"13b", 13'016'028'160},
                                                           {"34b", 33'743'970'304}, {"70b", 70'553'706'496}};
  for (const auto& [name, parameters] : expected) {
    INFO(name);
    const absl::StatusOr<ModelConfig> config = load_model_shape(shape_file(name));
    INFO(config.status().ToString());
    REQUIRE(config.ok());
    CHECK(parameter_count(*config) == parameters);
  }
}

TEST_CASE("absent fields take the family's defaults") {
  const ModelConfig llama = parsed({{"architectures", {"LlamaForCausalLM"}}});
  CHECK(llama.hidden == 4096);
  CHECK(llama.intermediate == 11008);
  CHECK(llama.key_heads == 32);
  CHECK(llama.head_dim == 128);
  CHECK(llama.max_positions == 2048);
  CHECK(llama.sliding_window == 0);
  CHECK_FALSE(llama.biases.qkv);
  CHECK(llama.eos == std::vector<TokenId>{2});
  const ModelConfig mistral = parsed({{"model_type", "mistral"}});
  CHECK(mistral.architecture == "MistralForCausalLM");
  CHECK(mistral.key_heads == 8);
  CHECK(mistral.sliding_window == 4096);
  const ModelConfig qwen2 = parsed({{"architectures", {"Qwen2ForCausalLM"}}});
  CHECK(qwen2.biases.qkv);
  CHECK_FALSE(qwen2.biases.output);
  CHECK(qwen2.bos == -1);
  CHECK(qwen2.eos.empty());
  const ModelConfig qwen3 = parsed({{"architectures", {"Qwen3ForCausalLM"}}, {"hidden_size", 1024}});
  CHECK(qwen3.qk_norm);
  CHECK(qwen3.head_dim == 128);
}

TEST_CASE("null and absent are different where transformers has it so") {
  CHECK(parsed(with("sliding_window", nullptr, "MistralForCausalLM")).sliding_window == 0);
  CHECK(parsed(with("sliding_window", 7, "MistralForCausalLM")).sliding_window == 7);
  CHECK(parsed(with("num_key_value_heads", nullptr, "MistralForCausalLM")).key_heads == 4);
  CHECK(parsed(with("eos_token_id", nullptr)).eos.empty());
  CHECK(parsed(with("bos_token_id", nullptr)).bos == -1);
  CHECK(parsed(with("head_dim", nullptr)).head_dim == 8);
  CHECK(parsed(with("rope_scaling", nullptr)).rope.scaling == RopeScaling::kNone);
}

TEST_CASE("Qwen's window needs use_sliding_window and all layers") {
  json config = with("sliding_window", 16, "Qwen2ForCausalLM");
  CHECK(parsed(config).sliding_window == 0);
  config["use_sliding_window"] = true;
  CHECK(parsed(config).sliding_window == 0);  // max_window_layers 28 > 3 layers: none slides
  config["max_window_layers"] = 0;
  CHECK(parsed(config).sliding_window == 16);
  config["max_window_layers"] = 2;
  require_error(config, absl::StatusCode::kUnimplemented, "1 of 3 layers");
  config["layer_types"] = {"sliding_attention", "sliding_attention", "sliding_attention"};
  CHECK(parsed(config).sliding_window == 16);
  config["layer_types"] = {"full_attention", "full_attention", "full_attention"};
  CHECK(parsed(config).sliding_window == 0);
  config["layer_types"] = {"full_attention"};
  require_error(config, absl::StatusCode::kInvalidArgument, "layer_types");
}

TEST_CASE("what is not supported is refused by name") {
  require_error(with("architectures", {"GPT2LMHeadModel"}), absl::StatusCode::kUnimplemented,
                "\"GPT2LMHeadModel\" is not supported; supported: LlamaForCausalLM");
  require_error(with("hidden_act", "gelu"), absl::StatusCode::kUnimplemented, "hidden_act \"gelu\"");
  require_error(with("quantization_config", {{"quant_method", "bitsandbytes"}}), absl::StatusCode::kUnimplemented,
                "quant_method \"bitsandbytes\"");
  require_error(with("rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}), absl::StatusCode::kUnimplemented,
                "\"dynamic\" is not supported");
  require_error(with("partial_rotary_factor", 0.5), absl::StatusCode::kUnimplemented, "partial_rotary_factor 0.5");
}

TEST_CASE("every number is bounded and the message names field, bounds and value") {
  const std::pair<const char*, json> bad[] = {{"vocab_size", 0},
                                              {"vocab_size", -1},
                                              {"vocab_size", 1e9},
                                              {"hidden_size", "32"},
                                              {"hidden_size", 33},
                                              {"hidden_size", 1 << 20},
                                              {"intermediate_size", 0},
                                              {"num_hidden_layers", 0},
                                              {"num_hidden_layers", 4.5},
                                              {"torch_dtype", 16},
                                              {"num_attention_heads", 0},
                                              {"num_key_value_heads", 3},
                                              {"num_key_value_heads", 0},
                                              {"head_dim", 7},
                                              {"head_dim", 0},
                                              {"head_dim", 1 << 20},
                                              {"max_position_embeddings", 0},
                                              {"rms_norm_eps", 0.0},
                                              {"rms_norm_eps", "tiny"},
                                              {"tie_word_embeddings", 1},
                                              {"eos_token_id", {1, "x"}},
                                              {"rope_theta", 0},
                                              {"rope_theta", -5.0},
                                              {"rope_scaling", 4},
                                              {"architectures", "Llama"},
                                              {"architectures", {1}},
                                              {"vocab_size", 1ULL << 63},
                                              {"attention_bias", "no"},
                                              {"vocab_size", true},
                                              {"hidden_act", 3},
                                              {"model_type", {1}}};
  for (const auto& [field, value] : bad) {
    INFO(field << " " << value.dump());
    require_error(with(field, value), absl::StatusCode::kInvalidArgument, field);
  }
  require_error(with("num_attention_heads", 5000), absl::StatusCode::kInvalidArgument,
                "config.json: num_attention_heads must be an integer from 1 to 1024, got 5000");
}

TEST_CASE("values that other programs accept are accepted; what is ignored is noted") {
  CHECK(parsed(with("hidden_size", 32.0)).hidden == parsed(with("hidden_size", 32)).hidden);
  for (const json& none : {json(-1), json(nullptr), json{-1, nullptr}, json(-1.0)}) {
    INFO(none.dump());
    CHECK(parsed(with("eos_token_id", none)).eos.empty());
    CHECK(parsed(with("eos_token_id", none)).notes.empty());
  }
  CHECK(parsed(with("eos_token_id", {1, nullptr, -1, 5})).eos == std::vector<TokenId>{1, 5});
  CHECK(parsed(with("eos_token_id", {1, 64})).eos == std::vector<TokenId>{1});
  CHECK(parsed(with("eos_token_id", {1, 64})).notes ==
        std::vector<std::string>{"config.json: eos_token_id 64 is ignored: the vocabulary has 64 tokens"});
  CHECK(parsed(with("bos_token_id", 64)).bos == -1);
  CHECK(parsed(with("bos_token_id", nullptr)).bos == -1);
  for (const char* const dtype : {"auto", "torch.bfloat16", "float8"}) {
    CHECK(parsed(with("torch_dtype", dtype)).notes.size() == 1);
  }
  CHECK(parsed(with("torch_dtype", "bfloat16")).notes.empty());
}

TEST_CASE("NaN and Infinity, which Python writes into JSON, are read as absent and noted") {
  std::string text = small().dump();
  text.back() = ',';
  text += R"("initializer_range":NaN,"a":[Infinity,-Infinity,1],"rms_norm_eps":-Infinity,"b":"NaN, \"Infinity"})";
  const absl::StatusOr<ModelConfig> config = parse_model_config(text);
  INFO(config.status().ToString());
  REQUIRE(config.ok());
  CHECK(config->notes == std::vector<std::string>{"config.json: 4 numbers are NaN or Infinity: read as absent"});
  for (const char* const broken : {"NaNs", "Infinit", "--Infinity", "+Infinity", "nan", "xNaN"}) {
    std::string other = small().dump();
    other.back() = ',';
    CHECK_FALSE(parse_model_config(other + "\"a\":" + broken + "}").ok());
  }
}

TEST_CASE("text that is not a JSON object is refused") {
  for (const char* text : {"", "{", "[]", "3", "null", "{\"a\":}", "\xff", "{\"vocab_size\": 1e999}"}) {
    INFO(text);
    CHECK_FALSE(parse_model_config(text).ok());
  }
  const std::string deep(100, '[');
  const absl::Status status = parse_model_config(deep).status();
  CHECK(std::string(status.message()).find("deeper") != std::string::npos);
  CHECK_FALSE(parse_model_config(std::string(5'000'000, ' ')).ok());
}

TEST_CASE("generation_config.json adds end tokens") {
  ModelConfig config = parsed(small());
  REQUIRE(parse_generation_config(R"({"eos_token_id":[7,2,5],"temperature":-1,"do_sample":true})", config).ok());
  CHECK(config.eos == std::vector<TokenId>{2, 5, 7});
  for (const char* text : {"[]", R"({"eos_token_id":"end"})"}) {
    INFO(text);
    CHECK_FALSE(parse_generation_config(text, config).ok());
    CHECK(config.eos == std::vector<TokenId>{2, 5, 7});
  }
}

TEST_CASE("every family of the table is found by both names") {
  for (const Family& family : families()) {
    CHECK(find_family(family.architecture, "") == &family);
    CHECK(find_family("", family.model_type) == &family);
    CHECK(supported_architectures().find(family.architecture) != std::string::npos);
  }
  CHECK(find_family("", "") == nullptr);
}

}  // namespace
}  // namespace coppice::models
