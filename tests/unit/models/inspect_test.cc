// Facts of `coppice inspect`, checked against sums done by hand.
#include "models/inspect.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "models/weights.h"
#include "tests/support/source_folder.h"

namespace coppice::models {
namespace {

ModelConfig shape(const char* name) {
  const auto config = load_model_shape(std::filesystem::path(coppice::test::source_path("configs/shapes")) /
                                       (std::string(name) + ".json"));
  REQUIRE(config.ok());
  return *config;
}

TEST_CASE("inspect: Llama-3.1-8B in bf16") {
  const ModelFacts facts = model_facts(shape("8b"), {kernels::WeightKind::kBF16}, 16'060'522'496,
                                       kernels::formats_of(kernels::ComputeType::kBF16));
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
       {"LlamaForCausalLM", "8.03 billion (8030261248)", "128.0 KiB per token", "llama3 scaling by 8 from 8192",
        "15.0 GiB in bf16", "74071 tokens", "end [128001]", "131072 tokens"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(format_model_facts(facts, 1000).find("no: 1000 B do not hold the weights") != std::string::npos);
  CHECK(format_model_facts(facts, 0).find("fits") == std::string::npos);
}

TEST_CASE("inspect: a tied embedding is in memory twice") {
  ModelConfig config = shape("160m");
  const ModelFacts untied =
      model_facts(config, {kernels::WeightKind::kF32}, 0, kernels::formats_of(kernels::ComputeType::kF32));
  config.tied_embeddings = true;
  const ModelFacts tied =
      model_facts(config, {kernels::WeightKind::kF32}, 0, kernels::formats_of(kernels::ComputeType::kF32));
  CHECK(tied.weight_bytes == untied.weight_bytes);
  CHECK(tied.parameters == untied.parameters - 32000 * 768);
}

}  // namespace
}  // namespace coppice::models
