// The attention benchmark: its short forms, and that what it reports adds up.
#include <catch2/catch.hpp>
#include <string>

#include "kernels/bench/attention_bench.h"
#include "kernels/cpu/cpu_backend.h"

namespace coppice::kernels {
namespace {

TEST_CASE("trees and head counts are read, and refused with a reason", "[bench]") {
  const auto tree = parse_attention_tree("1,4,256_32,256,5");
  REQUIRE(tree.ok());
  CHECK(tree->nodes == std::vector<std::int32_t>{1, 4, 256});
  CHECK(tree->tokens == std::vector<std::int32_t>{32, 256, 5});
  CHECK(tree->sequences() == 256);
  CHECK(tree->sequence_tokens() == 293);
  CHECK(tree->unique_tokens() == 32 + 4 * 256 + 256 * 5);
  for (const std::string text : {"", "_", "1", "1_", "_1", "1,2_3", "1_2_3", "0_5", "1_-5", "a_1", "1_1x", "4,2_8,8",
                                 "1,,2_1,1,1", "99999999999_1", "16777216_16777216"}) {
    INFO(text);
    const auto refused = parse_attention_tree(text);
    CHECK(!refused.ok());
    CHECK(std::string(refused.status().message()).size() > 10);
  }
  const auto heads = parse_head_counts("32/8");
  REQUIRE(heads.ok());
  CHECK(heads->query_heads == 32);
  CHECK(heads->key_heads == 8);
  for (const std::string text : {"", "32", "32/", "/8", "32/5", "0/1", "8192/1"}) {
    CHECK(!parse_head_counts(text).ok());
  }
}

TEST_CASE("a measurement adds up", "[bench]") {
  auto backend = cpu::make_cpu_backend({.threads = 2});
  REQUIRE(backend.ok());
  AttentionBenchOptions options;
  options.tree = parse_attention_tree("1,6_256,37").value();
  options.query_heads = 8;
  options.key_heads = 4;
  options.head_dim = 32;
  options.seconds = 0.01;
  options.cold_bytes = 1 << 20;
  for (const ComputeType dtype : {ComputeType::kF32, ComputeType::kBF16}) {
    options.type = dtype;
    const auto result = measure_attention(options, **backend);
    REQUIRE(result.ok());
    CHECK(result->sequences == 6);
    CHECK(result->keys_attended == 6 * 293);
    CHECK(result->keys_read_unshared == 6 * 293);
    CHECK(result->keys_read == 256 + 6 * 37);
    const auto width = static_cast<std::int64_t>(element_bytes(dtype));
    CHECK(result->bytes_min == (256 + 6 * 37) * 2 * 4 * 32 * width + 6 * 8 * 32 * (width + 4));
    CHECK(result->us > 0);
    CHECK(result->us_unshared > 0);
    CHECK(result->us_plan > 0);
    CHECK(result->max_rel_error > 0);
    CHECK(result->max_rel_error < (dtype == ComputeType::kF32 ? 1e-5 : 5e-3));
  }
  options.kv = KvFormat{KvKind::kInt8};
  const auto in_int8 = measure_attention(options, **backend);
  REQUIRE(in_int8.ok());
  CHECK(in_int8->bytes_min == (256 + 6 * 37) * 2 * 4 * (32 + 4) + 6 * 8 * 32 * (2 + 4));
  CHECK(in_int8->max_rel_error > 1e-3);
  CHECK(in_int8->max_rel_error < 2e-2);
  options.kv = {};
  // Beyond the slots that have numbers of their own: copies of those, read and judged as such.
  options.tree = parse_attention_tree("1,6_256,3000").value();
  const auto large = measure_attention(options, **backend);
  REQUIRE(large.ok());
  CHECK(large->keys_read == 256 + 6 * 3000);
  CHECK(large->max_rel_error < 5e-3);
  options.cache_bytes_max = 1000;
  CHECK(measure_attention(options, **backend).status().code() == absl::StatusCode::kResourceExhausted);
  options.query_heads = 7;
  CHECK(measure_attention(options, **backend).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace coppice::kernels
