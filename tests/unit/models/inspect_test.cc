// Facts of `coppice inspect`, checked against sums done by hand.
#include "models/inspect.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "models/weights.h"
#include "tests/support/source_folder.h"

namespace coppice::models {
namespace {

using kernels::WeightFormat;
using kernels::WeightKind;

bool multiplies_all(WeightFormat) {
  return true;
}

// Facts of a model whose tensors are all stored in one format.
ModelFacts facts_of(const ModelConfig& config, WeightFormat stored, const kernels::ModelFormats& formats) {
  return model_facts(config, stored_as(config, stored), formats, multiplies_all);
}

ModelConfig shape(const char* name) {
  const auto config = load_model_shape(std::filesystem::path(coppice::test::source_path("configs/shapes")) /
                                       (std::string(name) + ".json"));
  REQUIRE(config.ok());
  return *config;
}

TEST_CASE("inspect: Llama-3.1-8B in bf16") {
  const ModelFacts facts = facts_of(shape("8b"), {WeightKind::kBF16}, kernels::formats_of(kernels::ComputeType::kBF16));
  CHECK(facts.parameters == 8'030'261'248);
  // Two bytes each, but four for the 65 norms of 4,096.
  CHECK(facts.weight_bytes == 2ULL * 8'030'261'248 + 2ULL * 65 * 4096);
  CHECK(facts.kv_bytes_per_token == 2ULL * 32 * 8 * 128 * 2);
  CHECK(kv_tokens_that_fit(facts, facts.weight_bytes) == 0);
  CHECK(kv_tokens_that_fit(facts, facts.weight_bytes + 131'072 * 10 + 5) == 10);
  CHECK(kv_tokens_that_fit(facts, 0) == 0);
  const std::string text = format_model_facts(facts, std::size_t{24} << 30);
  INFO(text);
  for (const char* part :
       {"LlamaForCausalLM", "8.03 billion (8030261248)", "128.0 KiB per token in bf16", "llama3 scaling by 8 from 8192",
        "15.0 GiB in bf16", "74071 tokens", "end [128001]", "131072 tokens"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(format_model_facts(facts, 1000).find("no: 1000 B do not hold the weights") != std::string::npos);
  CHECK(format_model_facts(facts, 0).find("fits") == std::string::npos);
}

TEST_CASE("inspect: a KV cache in 8 bits takes a scale for each token and head beside half the bytes of bf16") {
  kernels::ModelFormats formats = kernels::formats_of(kernels::ComputeType::kBF16);
  formats.kv = {kernels::KvKind::kInt8};
  const ModelFacts facts = facts_of(shape("8b"), {WeightKind::kBF16}, formats);
  CHECK(facts.kv_bytes_per_token == 2ULL * 32 * 8 * (128 + 4));
  CHECK(format_model_facts(facts, 0).find("66.0 KiB per token in int8") != std::string::npos);
}

TEST_CASE("inspect: a tied embedding is in memory twice") {
  ModelConfig config = shape("160m");
  const ModelFacts untied = facts_of(config, {WeightKind::kF32}, kernels::formats_of(kernels::ComputeType::kF32));
  config.tied_embeddings = true;
  const ModelFacts tied = facts_of(config, {WeightKind::kF32}, kernels::formats_of(kernels::ComputeType::kF32));
  CHECK(tied.weight_bytes == untied.weight_bytes);
  CHECK(tied.parameters == untied.parameters - 32000 * 768);
}

// By hand, of a model of one layer.
ModelConfig small_model(bool tied) {
  ModelConfig config = shape("160m");
  config.layers = 1;
  config.tied_embeddings = tied;
  return config;
}

struct Counted {
  std::int64_t matrices = 0;  // numbers in the layers' matrices
  std::int64_t table = 0;     // in the embedding
  std::int64_t norms = 0;
};

Counted count(const ModelConfig& config) {
  Counted counted{.table = std::int64_t{config.vocab} * config.hidden};
  for (const WeightSpec& spec : weight_specs(config)) {
    counted.norms += spec.role == WeightRole::kNorm ? spec.elements() : 0;
    counted.matrices += spec.role == WeightRole::kMatrix && spec.name != kHeadName ? spec.elements() : 0;
  }
  return counted;
}

TEST_CASE("inspect: beside matrices of 4 bits the head has 8, and the table is dense") {
  const bool tied = GENERATE(false, true);
  const ModelConfig config = small_model(tied);
  const Counted has = count(config);
  kernels::ModelFormats formats = kernels::formats_of(kernels::ComputeType::kBF16);
  formats.storage = kernels::WeightFormat{kernels::WeightKind::kInt4, 32};
  const ModelFacts facts = facts_of(config, {WeightKind::kBF16}, formats);
  const std::int64_t layers = has.matrices / 2 + has.matrices / 32 * 2 * 2;  // two float16 numbers a group
  const std::int64_t head = has.table + 4LL * config.vocab;                  // and a float32 number a row
  CHECK(facts.weight_bytes == static_cast<std::size_t>(layers + head + 2 * has.table + 4 * has.norms));
}

TEST_CASE("inspect: in a file of 4 bits the embedding and the head are not") {
  const bool tied = GENERATE(false, true);
  const ModelConfig config = small_model(tied);
  const Counted has = count(config);
  kernels::ModelFormats formats = kernels::formats_of(kernels::ComputeType::kF32);
  formats.storage.reset();
  const bool has_half_scales = GENERATE(false, true);
  StoredWeights stored;
  for (const WeightSpec& spec : weight_specs(config)) {
    const bool is_quantised = spec.role == WeightRole::kMatrix && spec.name != kHeadName;
    stored.add(spec.name,
               {.format = is_quantised ? WeightFormat{WeightKind::kInt4, 128} : WeightFormat{WeightKind::kF16},
                .bytes = 1,
                .has_half_scales = is_quantised && has_half_scales});
  }
  const ModelFacts facts = model_facts(config, stored, formats, multiplies_all);
  const std::int64_t group = has_half_scales ? 2 : 2 * 4;  // bytes: a float16 number, or two float32 numbers
  const std::int64_t layers = has.matrices / 2 + has.matrices / 128 * group;
  CHECK(facts.weight_bytes == static_cast<std::size_t>(layers + 2 * 4 * has.table + 4 * has.norms));
  CHECK(widening_note(facts).empty());
}

TEST_CASE("inspect: each tensor counts in its own format, and what is widened is said") {
  const ModelConfig config = small_model(false);
  kernels::ModelFormats formats = kernels::formats_of(kernels::ComputeType::kBF16);
  formats.storage.reset();
  StoredWeights stored;
  std::int64_t expected = 0;
  for (const WeightSpec& spec : weight_specs(config)) {
    StoredWeight weight{.format = {WeightKind::kBF16}, .bytes = 1};
    std::int64_t bytes = spec.is_vector() ? 4 * spec.elements() : 2 * spec.elements();
    if (spec.name.find("mlp") != std::string::npos) {
      weight = {.format = {WeightKind::kQ4_K}, .bytes = static_cast<std::size_t>(spec.elements()) / 256 * 144};
      bytes = spec.elements() / 256 * 144;
    } else if (spec.name.find("q_proj") != std::string::npos) {
      weight = {.format = {WeightKind::kFp8, 128}, .bytes = 1};
    } else if (spec.name.find("k_proj") != std::string::npos || spec.name.find("v_proj") != std::string::npos) {
      weight = {.format = {WeightKind::kInt4, 48}, .bytes = 1};
    }
    stored.add(spec.name, weight);
    expected += bytes;
  }
  const auto multiplies = [](WeightFormat format) { return format.kind != WeightKind::kFp8 && format.group % 32 == 0; };
  const ModelFacts facts = model_facts(config, stored, formats, multiplies);
  CHECK(facts.weight_bytes == static_cast<std::size_t>(expected));
  CHECK(facts.quantised_matrices == 6);
  CHECK(
      widening_note(facts) ==
      "3 of 6 quantised matrices are widened when they are loaded: 1 from FP8 to bf16, 2 from int4 in groups of 48 to "
      "bf16");
  CHECK(format_model_facts(facts, 0).find("in Q4_K") != std::string::npos);
}

TEST_CASE("inspect: biases are kept in float32") {
  ModelConfig config = small_model(false);
  const kernels::ModelFormats formats = kernels::formats_of(kernels::ComputeType::kBF16);
  const std::size_t without = facts_of(config, {WeightKind::kBF16}, formats).weight_bytes;
  config.biases.mlp = true;
  CHECK(facts_of(config, {WeightKind::kBF16}, formats).weight_bytes ==
        without + 4 * static_cast<std::size_t>(2 * config.intermediate + config.hidden));
}

}  // namespace
}  // namespace coppice::models
