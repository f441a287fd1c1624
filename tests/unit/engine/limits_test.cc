// Limits follow from options, model and memory, or say which flag cannot work and what would.
#include "engine/limits.h"

#include <catch2/catch.hpp>
#include <string>
#include <tuple>

namespace coppice::engine {
namespace {

models::ModelConfig small_model() {
  models::ModelConfig model;
  model.layers = 2;
  model.key_heads = 2;
  model.head_dim = 8;
  model.max_positions = 1000;
  return model;
}

// 2 (K and V) * 2 layers * 2 heads * 8 numbers * 2 bytes.
constexpr std::size_t kTokenBytes = 128;

std::string error_of(const EngineOptions& options, std::size_t memory_bytes) {
  return std::string(derive_limits(options, small_model(), {kernels::KvKind::kBF16}, memory_bytes).status().message());
}

}  // namespace

TEST_CASE("limits that are not set are chosen", "[limits]") {
  const auto limits = derive_limits({}, small_model(), {kernels::KvKind::kBF16}, 2 * kTokenBytes * 16 * 500);
  REQUIRE(limits.ok());
  CHECK(limits->pages == 500);  // half of the memory
  CHECK(limits->model_tokens_max == 1000);
  CHECK(limits->running_max <= limits->step_tokens_max);
  CHECK(limits->step_logits_max == std::min(limits->step_tokens_max, 2 * limits->running_max));
  CHECK(limits->chunk_tokens_max == limits->step_tokens_max);
  CHECK(limits->to_string().find("pages 500\n") != std::string::npos);
}

TEST_CASE("--kv-memory decides the pages and the pool bounds the context", "[limits]") {
  EngineOptions options;
  options.kv_bytes = kTokenBytes * 16 * 10 + 5;
  const auto limits = derive_limits(options, small_model(), {kernels::KvKind::kBF16}, 1 << 30);
  REQUIRE(limits.ok());
  CHECK(limits->pages == 10);
  CHECK(limits->model_tokens_max == 160);
  const auto in_f32 = derive_limits(options, small_model(), {kernels::KvKind::kF32}, 1 << 30);
  REQUIRE(in_f32.ok());
  CHECK(in_f32->pages == 5);
  // 8 bytes and a scale of 4, of K and of V, in 2 layers and 2 heads.
  const auto in_int8 = derive_limits(options, small_model(), {kernels::KvKind::kInt8}, 1 << 30);
  REQUIRE(in_int8.ok());
  CHECK(in_int8->pages == kTokenBytes * 16 * 10 / (std::size_t{2} * 2 * 2 * (8 + 4) * 16));
}

TEST_CASE("--max-running raises the rows of a step that are not set", "[limits]") {
  EngineOptions options;
  options.running_max = 2000;
  const auto limits = derive_limits(options, small_model(), {kernels::KvKind::kBF16}, 1 << 30);
  REQUIRE(limits.ok());
  CHECK(limits->step_tokens_max == 2000);
  CHECK(limits->step_logits_max == 2000);
}

TEST_CASE("a step has logits for drafts when all places are taken", "[limits]") {
  for (const auto& [running, logits] : {std::pair(1, 65), {64, 128}, {100, 200}, {256, 512}, {1024, 1280}}) {
    EngineOptions options;
    options.running_max = running;
    options.step_tokens_max = 4096;
    const auto limits = derive_limits(options, small_model(), {kernels::KvKind::kBF16}, 1 << 30);
    REQUIRE(limits.ok());
    CHECK(limits->step_logits_max == logits);
  }
}

TEST_CASE("kept prefixes have a share of the pages", "[limits]") {
  for (const auto& [share, account, all] :
       {std::tuple(0.0, 0, 0), {0.25, 100, 200}, {0.75, 300, 300}, {1.0, 400, 400}}) {
    EngineOptions options;
    options.keep_share = share;
    options.kv_bytes = 2048 * 400;
    const auto limits = derive_limits(options, small_model(), {kernels::KvKind::kBF16}, 1 << 30);
    REQUIRE(limits.ok());
    REQUIRE(limits->pages == 400);
    CHECK(limits->kept.account_pages == account);
    CHECK(limits->kept.pages == all);
  }
}

TEST_CASE("a flag that cannot work is named with the value that would", "[limits]") {
  EngineOptions options;
  options.page_size = 24;
  CHECK(error_of(options, 1 << 20).find("--page-size 24") != std::string::npos);
  options = {};
  options.model_tokens_max = 1001;
  CHECK(error_of(options, 1 << 30).find("--max-model-len 1001") != std::string::npos);
  CHECK(error_of(options, 1 << 30).find("use 1000") != std::string::npos);
  options.model_tokens_max = 500;
  CHECK(error_of(options, 2 * kTokenBytes * 16 * 10).find("use 160") != std::string::npos);
  options = {};
  options.running_max = 65;
  options.step_tokens_max = 64;
  CHECK(error_of(options, 1 << 30).find("--max-running 65") != std::string::npos);
  options = {};
  options.queued_max = -1;
  CHECK(error_of(options, 1 << 30).find("--max-queued -1") != std::string::npos);
  options = {};
  options.kv_bytes = std::size_t{1} << 31;
  CHECK(error_of(options, 1 << 30).find("--kv-memory 2147483648") != std::string::npos);
  options.kv_bytes = 100;
  CHECK(error_of(options, 1 << 30).find("one page of 16 tokens takes 2048 bytes") != std::string::npos);
}

TEST_CASE("memory for less than a page is exhausted", "[limits]") {
  const auto limits = derive_limits({}, small_model(), {kernels::KvKind::kBF16}, 2047);
  CHECK(absl::IsResourceExhausted(limits.status()));
}

}  // namespace coppice::engine
