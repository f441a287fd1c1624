// Attention of decoding over large random trees: 1 to 6 levels, up to 512 sequences, groups of 1 to 16 query heads,
// head dimensions of 8 to 256, ragged lengths, windows. Judged by float64, and shared against unshared to the bit. What
// smaller trees can show (every instruction set beside every head shape, prompt chunks, drafts) is in
// attention_reference_test.cc and attention_identity_test.cc.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels {
namespace {

constexpr int kTrees = 96;  // of each KV type
constexpr int kLevelsMost = 6;
constexpr std::int32_t kLeavesMost = 512;
constexpr std::int32_t kGroupMost = 16;
constexpr std::int64_t kJudgedWork = 24'000'000;  // multiply-adds in float64 a tree
constexpr std::array<std::int32_t, 12> kHeadDims = {8, 16, 24, 32, 64, 72, 80, 96, 128, 160, 192, 256};

// What the trees of one run were like, to show that they were what this test is about.
struct Seen {
  std::int32_t leaves_most = 0;
  std::int32_t leaves_least = kLeavesMost;
  std::int32_t depth_most = 0;  // items over one row: levels that were found to be shared, and the leaf
  int one_token = 0;            // sequences with a single token of their own
  int empty_suffix = 0;         // sequences whose pages another one has too
  int windowed = 0;
  std::int64_t keys_attended = 0;
  std::int64_t keys_read = 0;
};

struct Case {
  TreeShape shape;
  std::int32_t page_size = 16;
  std::int32_t window = 0;
  AttentionBench::Options options;
};

std::int32_t draw(std::mt19937_64& random, std::int32_t least, std::int32_t most) {
  return std::uniform_int_distribution<std::int32_t>(least, most)(random);
}

// As many children that `levels` levels have about `leaves` leaves.
void branch(TreeShape& shape, int levels, std::int32_t leaves) {
  shape.depth = levels - 1;
  shape.depth_least = std::max(0, levels - 2);
  shape.leaves_most = leaves;
  if (levels == 1) {
    shape.roots_most = std::min(leaves, 40);
    return;
  }
  const auto children = static_cast<std::int32_t>(
      std::ceil(std::pow(static_cast<double>(leaves), 1.0 / static_cast<double>(levels - 1))));
  shape.children_least = std::max(1, children - 1);
  shape.children_most = children + 2;
}

Case make_case(int index, ComputeType dtype, std::mt19937_64& random) {
  Case result;
  const int levels = 1 + index % kLevelsMost;
  const std::array<std::int32_t, 5> leaves = {3, 20, 64, 200, kLeavesMost};
  const std::int32_t leaves_most = leaves[static_cast<std::size_t>(index / kLevelsMost) % leaves.size()];
  branch(result.shape, levels, leaves_most);
  result.shape.tokens_most = draw(random, 0, 2) == 0 ? 700 : 260;
  result.shape.leaf_tokens_most = std::max(20, 6000 / leaves_most);
  result.shape.empty_suffix = 0.15;
  result.shape.one_token = 0.2;
  result.page_size = leaves_most > 64 ? 16 : 16 << draw(random, 0, 3);
  result.window = index % 3 == 2 ? draw(random, 1, 900) : 0;
  result.options.dtype = dtype;
  result.options.seed = static_cast<std::uint64_t>(index + 1);
  result.options.threads = draw(random, 1, 3);
  result.options.head_dim = kHeadDims[static_cast<std::size_t>(index) % kHeadDims.size()];
  const std::int32_t group = 1 + index * 7 % kGroupMost;
  result.options.key_heads = result.options.head_dim > 64 || leaves_most > 64 ? 1 : draw(random, 1, 3);
  result.options.query_heads = result.options.key_heads * group;
  const bool small = leaves_most <= 20 && result.options.head_dim <= 64;
  if (small && index % 4 == 0) {  // the slow bodies, where they are quick
    result.options.isa = index % 8 == 0 ? cpu::Isa::kGeneric : std::min(cpu::Isa::kAvx2, cpu::best_isa());
  }
  return result;
}

void look_at(const TestStep& step, const Case& tree, const AttentionPlan& plan, Seen& seen) {
  const auto leaves = static_cast<std::int32_t>(step.sequences.size());
  seen.leaves_most = std::max(seen.leaves_most, leaves);
  seen.leaves_least = std::min(seen.leaves_least, leaves);
  seen.depth_most = std::max(seen.depth_most, plan.depth);
  seen.windowed += tree.window > 0 ? 1 : 0;
  seen.keys_attended += plan.keys_attended;
  seen.keys_read += plan.keys_read;
  for (std::size_t i = 1; i < step.sequences.size(); ++i) {
    const TestSequence& before = step.sequences[i - 1];
    const TestSequence& sequence = step.sequences[i];
    seen.empty_suffix += sequence.pages == before.pages ? 1 : 0;
    seen.one_token += sequence.position_begin % step.page_size == 0 && sequence.pages != before.pages ? 1 : 0;
  }
}

// The largest error of rows spread over the tree, as many as the work allows.
double largest_error(const AttentionBench& bench, const TestStep& step, const Case& tree,
                     const std::vector<float>& out) {
  std::int64_t work = 0;
  for (const TestSequence& sequence : step.sequences) {
    work += std::int64_t{sequence.position_begin + 1} * tree.options.query_heads * tree.options.head_dim * 2;
  }
  const auto stride = static_cast<std::size_t>(work / kJudgedWork + 1);
  double worst = 0;
  for (std::size_t i = 0; i < step.sequences.size(); i += stride) {
    const double error = bench.row_error(step, i, 0, tree.window, out);
    worst = error <= worst ? worst : error;  // a NaN is worst
  }
  return worst;
}

void check_trees(ComputeType dtype, double tolerance) {
  std::mt19937_64 random(dtype == ComputeType::kF32 ? 31 : 32);
  Seen seen;
  for (int index = 0; index < kTrees; ++index) {
    const Case tree = make_case(index, dtype, random);
    const TestStep step = random_tree(tree.shape, tree.page_size, random);
    AttentionBench bench(tree.options, step.pages_used, step.page_size, step.row_count());
    PlanOptions options = bench.plan_options(step);
    options.window = tree.window;
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    const AttentionPlan& plan = planner.plan(sequences, options);
    look_at(step, tree, plan, seen);
    const std::vector<float> shared = bench.run(plan);
    const double error = largest_error(bench, step, tree, shared);
    INFO("tree " << index << " " << cpu::isa_name(tree.options.isa) << " sequences " << step.sequences.size()
                 << " heads " << tree.options.query_heads << "/" << tree.options.key_heads << " dim "
                 << tree.options.head_dim << " window " << tree.window << " error " << error);
    REQUIRE(error <= tolerance);
    options.sharing = false;
    const std::vector<float> unshared = bench.run(planner.plan(sequences, options));
    REQUIRE(shared.size() == unshared.size());
    REQUIRE(std::memcmp(shared.data(), unshared.data(), shared.size() * sizeof(float)) == 0);
  }
  CHECK(seen.leaves_most == kLeavesMost);
  CHECK(seen.leaves_least == 1);
  CHECK(seen.depth_most >= kLevelsMost);
  CHECK(seen.windowed == kTrees / 3);
  CHECK(seen.empty_suffix >= 100);
  CHECK(seen.one_token >= 100);
  CHECK(seen.keys_attended > 2 * seen.keys_read);
}

TEST_CASE("large random trees agree with float64, f32 cache", "[attention][tree]") {
  check_trees(ComputeType::kF32, 1e-5);
}

TEST_CASE("large random trees agree with float64, bf16 cache", "[attention][tree]") {
  check_trees(ComputeType::kBF16, 5e-3);
}

}  // namespace
}  // namespace coppice::kernels
