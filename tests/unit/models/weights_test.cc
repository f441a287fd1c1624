// Weight sources: the check of a folder against its config, unaligned data, number formats, random weights.
#include "models/weights.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "models/float_formats.h"
#include "tests/support/safetensors_bytes.h"

namespace coppice::models {
namespace {

using kernels::ComputeType;
using kernels::WeightKind;
using nlohmann::json;
using tests::safetensors_file;
using tests::TemporaryFolder;

ModelConfig tiny_config(bool tied) {
  const json config = {{"architectures", {"LlamaForCausalLM"}},
                       {"vocab_size", 5},
                       {"hidden_size", 4},
                       {"intermediate_size", 6},
                       {"num_hidden_layers", 1},
                       {"num_attention_heads", 2},
                       {"num_key_value_heads", 1},
                       {"tie_word_embeddings", tied}};
  absl::StatusOr<ModelConfig> parsed = parse_model_config(config.dump());
  REQUIRE(parsed.ok());
  return *parsed;
}

// A file's tensors: name -> (shape, type); data is a byte pattern.
struct FileTensor {
  std::vector<std::int64_t> shape;
  std::string dtype = "F32";
};

std::map<std::string, FileTensor> tensors_of(const ModelConfig& config) {
  std::map<std::string, FileTensor> tensors;
  for (const WeightSpec& spec : weight_specs(config)) {
    tensors[spec.name] = {
        spec.is_vector() ? std::vector<std::int64_t>{spec.columns} : std::vector<std::int64_t>{spec.rows, spec.columns},
        "F32"};
  }
  return tensors;
}

std::string file_of(const std::map<std::string, FileTensor>& tensors) {
  json header = json::object();
  std::size_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    std::size_t bytes = tensor.dtype == "F32" ? 4 : tensor.dtype == "U8" ? 1 : 2;
    for (const std::int64_t size : tensor.shape) {
      bytes *= static_cast<std::size_t>(size);
    }
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  return safetensors_file(header.dump(), std::string(at, '\x3f'));
}

std::string open_message(const std::map<std::string, FileTensor>& tensors, const ModelConfig& config) {
  const TemporaryFolder folder;
  folder.write("model.safetensors", file_of(tensors));
  return std::string(open_safetensors_weights(folder.path(), config).status().message());
}

TEST_CASE("weights: missing and misshapen tensors are named") {
  const ModelConfig config = tiny_config(false);
  const auto good = tensors_of(config);
  CHECK(good.size() == 12);
  CHECK(open_message(good, config).empty());
  for (const auto& [name, tensor] : good) {
    auto missing = good;
    missing.erase(name);
    CHECK(open_message(missing, config).find("tensor " + name + " is missing") != std::string::npos);
  }
  auto misshapen = good;
  misshapen["model.layers.0.self_attn.k_proj.weight"] = {{4, 2}};
  CHECK(open_message(misshapen, config)
            .find("tensor model.layers.0.self_attn.k_proj.weight: expected shape [2, 4], found [4, 2]") !=
        std::string::npos);
  misshapen = good;
  misshapen["model.norm.weight"] = {{1, 4}};
  CHECK(open_message(misshapen, config).find("expected shape [4], found [1, 4]") != std::string::npos);
  auto mistyped = good;
  mistyped["lm_head.weight"].dtype = "U8";
  CHECK(open_message(mistyped, config).find("tensor lm_head.weight: expected type F32, F16 or BF16, found U8") !=
        std::string::npos);
}

TEST_CASE("weights: what no forward pass needs is ignored, and named where it is not known to be harmless") {
  const ModelConfig config = tiny_config(false);
  const auto note_of = [&config](const std::map<std::string, FileTensor>& tensors) {
    const TemporaryFolder folder;
    folder.write("model.safetensors", file_of(tensors));
    const auto source = open_safetensors_weights(folder.path(), config);
    REQUIRE(source.ok());
    return (*source)->note();
  };
  auto tensors = tensors_of(config);
  CHECK(note_of(tensors).empty());
  tensors["model.rotary_emb.inv_freq"] = {{1}};
  CHECK(note_of(tensors).empty());
  tensors["model.layers.1.mlp.up_proj.weight"] = {{6, 4}};
  tensors["model.layers.0.self_attn.q_proj.bias"] = {{4}};
  CHECK(note_of(tensors).find("2 tensors are no part of a LlamaForCausalLM with this config.json and are ignored; the "
                              "first is model.layers.0.self_attn.q_proj.bias") != std::string::npos);
}

TEST_CASE("weights: known harmless surplus is accepted") {
  auto tensors = tensors_of(tiny_config(false));
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{1}};
  tensors["model.rotary_emb.inv_freq"] = {{1}};
  CHECK(open_message(tensors, tiny_config(false)).empty());
  // A tied model may carry its head, or carry it in place of the embedding.
  CHECK(open_message(tensors, tiny_config(true)).empty());
  tensors.erase("model.embed_tokens.weight");
  CHECK(open_message(tensors, tiny_config(true)).empty());
  tensors.erase("lm_head.weight");
  CHECK(open_message(tensors, tiny_config(true)).find("tensor model.embed_tokens.weight is missing") !=
        std::string::npos);
}

TEST_CASE("weights: the type that most bytes have is the stored type") {
  const ModelConfig config = tiny_config(false);
  auto tensors = tensors_of(config);
  for (auto& [name, tensor] : tensors) {
    tensor.dtype = tensor.shape.size() == 1 ? "F32" : "F16";
  }
  const TemporaryFolder folder;
  folder.write("model.safetensors", file_of(tensors));
  const auto source = open_safetensors_weights(folder.path(), config);
  REQUIRE(source.ok());
  CHECK((*source)->stored_format() == kernels::WeightFormat{kernels::WeightKind::kF16});
  CHECK((*source)->stored_bytes() == 12 * 4 + static_cast<std::size_t>(parameter_count(config) - 12) * 2);
}

TEST_CASE("weights: data at any byte offset is delivered aligned and whole") {
  const ModelConfig config = tiny_config(false);
  for (std::size_t padding = 0; padding < 4; ++padding) {
    // Blanks after the header move the data, so that a mapped file has it at every remainder.
    std::string header = R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    std::size_t at = 0;
    std::string data;
    for (const WeightSpec& spec : weight_specs(config)) {
      const auto bytes = static_cast<std::size_t>(spec.elements()) * 4;
      header += ",\"" + spec.name + R"(":{"dtype":"F32","shape":[)" +
                (spec.is_vector() ? "" : std::to_string(spec.rows) + ",") + std::to_string(spec.columns) +
                R"(],"data_offsets":[)" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
      for (std::int64_t i = 0; i < spec.elements(); ++i) {
        const float value = static_cast<float>(at) + static_cast<float>(i);
        char raw[4];
        std::memcpy(raw, &value, 4);
        data.append(raw, 4);
      }
      at += bytes;
    }
    // The surplus tensor must go for the folder to be accepted; an empty one under a harmless name stays.
    header.replace(header.find("\"a\""), 3, "\"rotary_emb.inv_freq\"");
    const TemporaryFolder folder;
    folder.write("model.safetensors", safetensors_file(header + "}" + std::string(padding, ' '), data));
    const auto source = open_safetensors_weights(folder.path(), config);
    INFO(source.status().ToString());
    REQUIRE(source.ok());
    at = 0;
    for (const WeightSpec& spec : weight_specs(config)) {
      const auto tensor = (*source)->fetch(spec);
      REQUIRE(tensor.ok());
      std::vector<float> values(static_cast<std::size_t>(spec.elements()));
      convert_to_float(tensor->view(), values);
      CHECK(values.front() == static_cast<float>(at));
      CHECK(values.back() == static_cast<float>(at) + static_cast<float>(spec.elements() - 1));
      at += values.size() * 4;
      (*source)->release(spec);
    }
  }
}

TEST_CASE("float formats: every half and every bfloat16 widens exactly and comes back") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = bf16_to_float(half);
    if (std::isnan(value)) {
      CHECK(std::isnan(bf16_to_float(float_to_bf16(value))));
    } else if (float_to_bf16(value) != half) {
      FAIL("bfloat16 " << bits);
    }
    // IEEE 754 binary16: sign, 5 bits of exponent with bias 15, 10 bits of fraction.
    const int exponent = static_cast<int>((bits >> 10) & 0x1F);
    const int fraction = static_cast<int>(bits & 0x3FF);
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    const auto widened = static_cast<double>(f16_to_float(half));
    if (exponent == 31) {
      CHECK((fraction == 0 ? widened == sign * std::numeric_limits<double>::infinity() : std::isnan(widened)));
    } else {
      const double expected =
          sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
      if (widened != expected) {
        FAIL("binary16 " << bits);
      }
    }
  }
}

TEST_CASE("float formats: narrowing rounds to nearest, ties to even") {
  CHECK(float_to_bf16(1.0F) == 0x3F80);
  CHECK(float_to_bf16(1.0F + 0x1p-8F) == 0x3F80);             // a tie: down to even
  CHECK(float_to_bf16(1.0F + 0x1.8p-7F) == 0x3F82);           // a tie: up to even
  CHECK(float_to_bf16(1.0F + 0x1p-8F + 0x1p-20F) == 0x3F81);  // above the tie
  CHECK(float_to_bf16(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7F800001U)))));
  std::vector<std::uint16_t> halves(3);
  const std::uint16_t stored[] = {0x3C00, 0xC000, 0x0001};  // binary16: 1, -2, 2^-24
  convert({std::as_bytes(std::span(stored)), {WeightKind::kF16}, 1, 3, {}}, ComputeType::kBF16,
          std::as_writable_bytes(std::span(halves)));
  CHECK(halves == std::vector<std::uint16_t>{0x3F80, 0xC000, 0x3380});
  const std::uint16_t wide[] = {0x3F80, 0xC000, 0x4780};  // bfloat16: 1, -2, 65536
  convert({std::as_bytes(std::span(wide)), {WeightKind::kBF16}, 1, 3, {}}, ComputeType::kF16,
          std::as_writable_bytes(std::span(halves)));
  CHECK(halves == std::vector<std::uint16_t>{0x3C00, 0xC000, 0x7C00});
  convert({std::as_bytes(std::span(stored)), {WeightKind::kF16}, 1, 3, {}}, ComputeType::kF16,
          std::as_writable_bytes(std::span(halves)));
  CHECK(std::ranges::equal(halves, stored));
  const float floats[] = {1.0F + 0x1p-11F, 1.0F + 0x1.8p-10F, 0x1p-24F};  // ties: down to even, up to even
  convert({std::as_bytes(std::span(floats)), {WeightKind::kF32}, 1, 3, {}}, ComputeType::kF16,
          std::as_writable_bytes(std::span(halves)));
  CHECK(halves == std::vector<std::uint16_t>{0x3C00, 0x3C02, 0x0001});
}

std::vector<float> random_values(std::uint64_t seed, ComputeType dtype, const WeightSpec& spec) {
  const auto source = make_random_weights(tiny_config(false), seed, dtype);
  const auto tensor = source->fetch(spec);
  REQUIRE(tensor.ok());
  std::vector<float> values(static_cast<std::size_t>(spec.elements()));
  convert_to_float(tensor->view(), values);
  return values;
}

TEST_CASE("random weights: a function of seed, name and index, with the promised spread") {
  const WeightSpec spec = {"model.layers.0.mlp.up_proj.weight", 701, 611, WeightRole::kMatrix};
  const std::vector<float> values = random_values(7, ComputeType::kF32, spec);
  double sum = 0.0;
  double squares = 0.0;
  for (const float value : values) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  const auto count = static_cast<double>(values.size());
  CHECK(std::abs(sum / count) < 4 * 0.02 / std::sqrt(count));
  CHECK(std::sqrt(squares / count) == Approx(0.02).epsilon(0.01));
  CHECK(random_values(7, ComputeType::kF32, spec) == values);
  CHECK(random_values(8, ComputeType::kF32, spec) != values);
  CHECK(random_values(7, ComputeType::kF32, {"model.layers.1.mlp.up_proj.weight", 701, 611, WeightRole::kMatrix}) !=
        values);
  // The bfloat16 numbers are the float32 ones, rounded; a smaller tensor (one thread) begins the same.
  const std::vector<float> rounded = random_values(7, ComputeType::kBF16, spec);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (rounded[i] != bf16_to_float(float_to_bf16(values[i]))) {
      FAIL("element " << i);
    }
  }
  const std::vector<float> few = random_values(7, ComputeType::kF32, {spec.name, 3, 7, WeightRole::kMatrix});
  CHECK(std::equal(few.begin(), few.end(), values.begin()));
  CHECK(random_values(7, ComputeType::kBF16, {"model.norm.weight", 1, 3, WeightRole::kNorm}) ==
        std::vector<float>{1.0F, 1.0F, 1.0F});
}

}  // namespace
}  // namespace coppice::models
