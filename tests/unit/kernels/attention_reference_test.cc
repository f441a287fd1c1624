// Attention against float64 over random trees: every instruction set, every cache format, all head shapes.
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels {
namespace {

// Relative error of a row in the 2-norm. What is multiplied is in the cache's type, and a query of f32 is rounded to
// it; numbers of 8 bits are multiplied in bf16 where the instruction set does so, else in f32.
double tolerance(const AttentionBench::Options& options) {
  const KvKind kind = options.kv_format().kind;
  const bool in_f32 = kind == KvKind::kF32 || (kind == KvKind::kInt8 && options.isa != cpu::Isa::kAvx512Bf16);
  return in_f32 ? 1e-5 : options.dtype == ComputeType::kBF16 ? 5e-3 : 1e-2;
}

std::vector<cpu::Isa> isas() {
  std::vector<cpu::Isa> result;
  for (const cpu::Isa isa : {cpu::Isa::kGeneric, cpu::Isa::kAvx2, cpu::Isa::kAvx512, cpu::Isa::kAvx512Bf16}) {
    if (isa <= cpu::best_isa()) {
      result.push_back(isa);
    }
  }
  return result;
}

void check(const TestStep& step, AttentionBench::Options options, std::int32_t window, bool sharing = true) {
  AttentionBench bench(options, step.pages_used, step.page_size, step.row_count());
  PlanOptions plan_options = bench.plan_options(step);
  plan_options.window = window;
  plan_options.sharing = sharing;
  AttentionPlanner planner;
  const auto sequences = step.plan_sequences();
  const AttentionPlan& plan = planner.plan(sequences, plan_options);
  const double error = bench.error(step, window, bench.run(plan));
  INFO(cpu::isa_name(options.isa) << " " << format_name(options.dtype) << " on " << format_name(options.kv_format())
                                  << " heads " << options.query_heads << "/" << options.key_heads << " dim "
                                  << options.head_dim << " window " << window << " rows " << step.row_count()
                                  << " error " << error);
  CHECK(error <= tolerance(options));
}

TEST_CASE("every head shape, type and instruction set agrees with float64", "[attention]") {
  std::mt19937_64 random(7);
  const std::vector<std::vector<std::int32_t>> heads = {{1, 1}, {4, 4}, {6, 2}, {8, 2}, {5, 1}, {16, 1}};
  const std::vector<std::int32_t> dims = {8, 24, 64, 80, 128, 256};
  int seed = 0;
  for (const cpu::Isa isa : isas()) {
    for (const KvKind kind : {KvKind::kF32, KvKind::kBF16, KvKind::kInt8}) {
      for (std::size_t i = 0; i < 6; ++i) {
        TreeShape shape;
        shape.depth = 1 + static_cast<std::int32_t>(i % 3);
        shape.leaves_most = 10;
        shape.tokens_most = 200;
        shape.chunk_most = i % 2 == 0 ? 1 : 40;
        shape.drafts_most = i % 3 == 0 ? 0 : 6;
        const std::int32_t page_size = 16 << (i % 4);
        const TestStep step = random_tree(shape, page_size, random);
        AttentionBench::Options options;
        options.query_heads = heads[i][0];
        options.key_heads = heads[i][1];
        options.head_dim = dims[(i + static_cast<std::size_t>(seed)) % dims.size()];
        options.dtype = kind == KvKind::kF32 ? ComputeType::kF32 : ComputeType::kBF16;
        options.kv = KvFormat{kind};
        options.isa = isa;
        options.seed = static_cast<std::uint64_t>(++seed);
        check(step, options, i % 3 == 2 ? 100 : 0);
      }
    }
  }
}

TEST_CASE("a KV cache of another type than the queries agrees with float64", "[attention]") {
  std::mt19937_64 random(11);
  for (const cpu::Isa isa : isas()) {
    for (const std::int32_t dim : {24, 64, 80}) {
      TreeShape shape;
      shape.leaves_most = 10;
      shape.chunk_most = 20;
      shape.drafts_most = 6;
      const TestStep step = random_tree(shape, 16, random);
      AttentionBench::Options options;
      options.head_dim = dim;
      options.isa = isa;
      options.dtype = ComputeType::kBF16;
      options.kv = KvFormat{KvKind::kF32};
      check(step, options, 0);
      options.dtype = ComputeType::kF32;
      for (const KvKind kind : {KvKind::kBF16, KvKind::kInt8}) {
        options.kv = KvFormat{kind};
        check(step, options, dim == 64 ? 100 : 0);
      }
    }
  }
}

TEST_CASE("sharp softmax and large scores stay accurate", "[attention]") {
  std::mt19937_64 random(8);
  const TestStep step = random_tree({}, 16, random);
  for (const double spread : {0.01, 2.0, 4.0}) {
    AttentionBench::Options options;
    options.dtype = ComputeType::kF32;
    options.spread = spread;
    check(step, options, 0);
    options.dtype = ComputeType::kBF16;
    check(step, options, 0);
    options.kv = KvFormat{KvKind::kInt8};
    check(step, options, 0);
  }
}

TEST_CASE("long contexts cross all split sizes", "[attention]") {
  TestStep step;
  for (const std::int32_t length : {1, 127, 128, 129, 2047, 2049, 5000, 16383, 16385, 18001}) {
    TestSequence sequence;
    for (std::int32_t page = 0; page * 16 < length; ++page) {
      sequence.pages.push_back(step.pages_used++);
    }
    sequence.position_begin = length - 1;
    sequence.row_count = 1;
    step.sequences.push_back(sequence);
  }
  step.number_rows();
  for (const KvKind kind : {KvKind::kF32, KvKind::kBF16, KvKind::kInt8}) {
    for (const std::int32_t window : {0, 1, 100, 4096}) {
      AttentionBench::Options options;
      options.query_heads = 4;
      options.key_heads = 1;  // one head, two workers: long rows are cut
      options.head_dim = 32;
      options.dtype = kind == KvKind::kF32 ? ComputeType::kF32 : ComputeType::kBF16;
      options.kv = KvFormat{kind};
      check(step, options, window);
    }
  }
}

TEST_CASE("bf16 output is the rounded f32 output", "[attention]") {
  std::mt19937_64 random(9);
  const TestStep step = random_tree({}, 16, random);
  for (const std::int32_t dim : {24, 64}) {
    AttentionBench::Options options;
    options.head_dim = dim;
    AttentionBench bench(options, step.pages_used, step.page_size, step.row_count());
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    const AttentionPlan& plan = planner.plan(sequences, bench.plan_options(step));
    const std::vector<float> wide = bench.run(plan);
    const std::vector<float> narrow = bench.run(plan, ComputeType::kBF16);
    for (std::size_t i = 0; i < wide.size(); ++i) {
      REQUIRE(std::abs(wide[i] - narrow[i]) <= std::abs(wide[i]) * 0x1.0p-8F);
    }
  }
}

}  // namespace
}  // namespace coppice::kernels
