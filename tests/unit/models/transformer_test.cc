// The Transformer's own promises: rows of logits, loading progress, the choice of a compute type, refusals.
#include "models/transformer.h"

#include <catch2/catch.hpp>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "models/weights.h"
#include "tests/support/fixture_model.h"
#include "tests/support/model_runner.h"

namespace coppice::models {
namespace {

using kernels::ComputeType;
using kernels::WeightKind;
using tests::FixtureModel;
using tests::ModelRunner;
using tests::RunnerRow;

struct Opened {
  ModelConfig config;
  std::unique_ptr<WeightSource> source;
};

Opened open_fixture(const char* name) {
  const FixtureModel fixture = tests::load_fixture_model(name);
  const auto config = load_model_config(fixture.folder);
  REQUIRE(config.ok());
  auto source = open_safetensors_weights(fixture.folder, *config);
  REQUIRE(source.ok());
  return {*config, *std::move(source)};
}

TEST_CASE("transformer: the logits of a row do not depend on which others are requested") {
  const Opened opened = open_fixture("qwen2");
  const auto runner = ModelRunner::make(opened.config, *opened.source, {.sequences = 2});
  REQUIRE(runner.ok());
  const std::vector<TokenId> first = {1, 5, 9, 70, 33, 2, 8};
  const std::vector<TokenId> second = {1, 5, 44};
  const auto all = (*runner)->step(std::vector<RunnerRow>{{0, first}, {1, second}});
  REQUIRE(all.size() == 10);
  for (const auto& [first_wanted, second_wanted] : {std::pair{1, 1}, {0, 3}, {2, 0}, {0, 0}}) {
    (*runner)->forget(0);
    (*runner)->forget(1);
    const auto some = (*runner)->step(std::vector<RunnerRow>{{0, first, first_wanted}, {1, second, second_wanted}});
    REQUIRE(some.size() == static_cast<std::size_t>(first_wanted + second_wanted));
    for (int i = 0; i < first_wanted; ++i) {
      CHECK(some[static_cast<std::size_t>(i)] == all[static_cast<std::size_t>(7 - first_wanted + i)]);
    }
    for (int i = 0; i < second_wanted; ++i) {
      CHECK(some[static_cast<std::size_t>(first_wanted + i)] == all[static_cast<std::size_t>(10 - second_wanted + i)]);
    }
  }
  // A step that wants no logits still writes keys and values.
  (*runner)->forget(0);
  const std::vector<TokenId> before(first.begin(), first.end() - 1);
  CHECK((*runner)->step(std::vector<RunnerRow>{{0, before, 0}}).empty());
  CHECK((*runner)->step(std::vector<RunnerRow>{{0, {first.back()}}}).front() == all[6]);
}

TEST_CASE("transformer: a row's hidden state does not depend on what else is requested, and changes no logits") {
  for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16}) {
    const Opened opened = open_fixture("qwen2");
    const auto runner = ModelRunner::make(opened.config, *opened.source, {.dtype = dtype, .sequences = 2});
    REQUIRE(runner.ok());
    const std::vector<TokenId> first = {1, 5, 9, 70, 33, 2, 8};
    const std::vector<TokenId> second = {1, 5, 44};
    const auto run = [&](RunnerRow one, RunnerRow other) {
      (*runner)->forget(0);
      (*runner)->forget(1);
      return (*runner)->step(std::vector<RunnerRow>{std::move(one), std::move(other)});
    };
    const auto logits = run({0, first}, {1, second});
    CHECK((*runner)->hidden_states().empty());
    CHECK(run({0, first, -1, 7}, {1, second, -1, 3}) == logits);  // both of every row
    const std::vector<std::vector<float>> all = (*runner)->hidden_states();
    REQUIRE(all.size() == 10);
    CHECK(all[6] != all[9]);
    CHECK(run({0, first, 0, 1}, {1, second, 0, 0}).empty());
    REQUIRE((*runner)->hidden_states().size() == 1);
    CHECK((*runner)->hidden_states().front() == all[6]);
    CHECK(run({0, first, 1, 0}, {1, second, 0, 2}).front() == logits[6]);
    REQUIRE((*runner)->hidden_states().size() == 2);
    CHECK((*runner)->hidden_states()[0] == all[8]);
    CHECK((*runner)->hidden_states()[1] == all[9]);
  }
}

TEST_CASE("transformer: loading reports every byte, once, upwards") {
  for (const char* name : {"qwen2", "llama_bias", "llama31"}) {
    INFO(name);
    const Opened opened = open_fixture(name);
    const auto backend = kernels::cpu::make_cpu_backend({.threads = 1});
    REQUIRE(backend.ok());
    std::vector<std::size_t> done;
    const auto loaded =
        Transformer::load(opened.config, *opened.source, **backend, kernels::formats_of(ComputeType::kBF16), {4, 4},
                          [&](std::size_t bytes, std::size_t total) {
                            CHECK(total == opened.source->stored_bytes());
                            done.push_back(bytes);
                          });
    REQUIRE(loaded.ok());
    CHECK(done.size() == weight_specs(opened.config).size());
    CHECK(std::is_sorted(done.begin(), done.end()));
    CHECK(done.back() == opened.source->stored_bytes());
    const kernels::KvGeometry geometry = (*loaded)->kv_geometry(32, 9);
    CHECK(geometry.layers == opened.config.layers);
    CHECK(geometry.bytes_per_token() ==
          static_cast<std::size_t>(4 * opened.config.layers * opened.config.key_heads * opened.config.head_dim));
    // Two bytes for every parameter that a step reads; the embedding counts only as the tied head. A backend may pad
    // matrices to its tiles, which shows in models as tiny as these.
    const std::int64_t embedding = std::int64_t{opened.config.vocab} * opened.config.hidden;
    const std::int64_t read = parameter_count(opened.config) - (opened.config.tied_embeddings ? 0 : embedding);
    CHECK((*loaded)->bytes_per_step() >= 2 * static_cast<std::size_t>(read));
    CHECK((*loaded)->bytes_per_step() < 4 * static_cast<std::size_t>(read));
  }
}

TEST_CASE("transformer: a source that fails in the middle gives its error") {
  Opened opened = open_fixture("llama2");
  const auto backend = kernels::cpu::make_cpu_backend({.threads = 1});
  REQUIRE(backend.ok());
  opened.config.layers += 1;
  const auto loaded =
      Transformer::load(opened.config, *opened.source, **backend, kernels::formats_of(ComputeType::kF32), {4, 4}, {});
  REQUIRE_FALSE(loaded.ok());
  CHECK(std::string(loaded.status().message()).find("model.layers.2.input_layernorm.weight") != std::string::npos);
  opened.config.layers -= 1;
  CHECK(absl::IsUnimplemented(
      Transformer::load(opened.config, *opened.source, **backend, kernels::formats_of(ComputeType::kF16), {4, 4}, {})
          .status()));
}

TEST_CASE("transformer: the type that auto means") {
  const auto fast = kernels::cpu::make_cpu_backend({});
  const auto slow = kernels::cpu::make_cpu_backend({.isa = kernels::cpu::Isa::kGeneric});
  REQUIRE((fast.ok() && slow.ok()));
  CHECK((*slow)->device().supports(kernels::dense_packing(ComputeType::kBF16)) == kernels::Support::kSlow);
  for (kernels::Device* device : {&(*fast)->device(), &(*slow)->device()}) {
    const ComputeType half = device->supports(kernels::dense_packing(ComputeType::kBF16)) == kernels::Support::kFull
                                 ? ComputeType::kBF16
                                 : ComputeType::kF32;
    CHECK(choose_compute({WeightKind::kF32}, *device).type == ComputeType::kF32);
    CHECK(choose_compute({WeightKind::kF32}, *device).note.empty());
    CHECK(choose_compute({WeightKind::kBF16}, *device).type == half);
    CHECK(choose_compute({WeightKind::kBF16}, *device).note.empty() == (half == ComputeType::kBF16));
    CHECK(choose_compute({WeightKind::kF16}, *device).type == half);
    CHECK(choose_compute({WeightKind::kF16}, *device).note.find("stored as f16") != std::string::npos);
  }
}

}  // namespace
}  // namespace coppice::models
