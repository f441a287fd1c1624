// The model of the attention kernel's time: what must hold whatever its constants are.
#include "kernels/bench/attention_model.h"

#include <catch2/catch.hpp>

#include "kernels/bench/attention_forest.h"

namespace coppice::kernels {
namespace {

AttentionForecast forecast(const char* text, bool sharing, const GpuClass& gpu, const PlanCosts& plan_costs = {},
                           const KernelCosts& costs = {}) {
  const AttentionTree tree = parse_attention_tree(text).value();
  const Forest forest = grow_forest(tree, 16);
  PlanOptions options;
  options.sharing = sharing;
  options.group_size = 8;
  options.key_heads = 2;
  options.workers = gpu.multiprocessors * gpu.blocks;
  options.costs = plan_costs;
  AttentionPlanner planner;
  const std::int64_t keys = sharing ? tree.unique_tokens() : tree.sequences() * tree.sequence_tokens();
  return forecast_attention({&planner.plan(forest.sequences, options), 16, 2, keys}, gpu, costs);
}

TEST_CASE("no forecast is quicker than the memory, and a large one is nearly as quick") {
  for (const GpuClass& gpu : gpu_classes()) {
    INFO(gpu.name);
    for (const char* const tree : {"1_128", "4_256", "256_256", "8_8192", "1_65536", "64_65536"}) {
      INFO(tree);
      const AttentionForecast found = forecast(tree, false, gpu, kGpuPlanCosts);
      CHECK(found.us > found.bound_us);
      CHECK(found.busy_share > 0);
      CHECK(found.busy_share <= 1);
    }
    const AttentionForecast large = forecast("64_65536", false, gpu, kGpuPlanCosts);
    CHECK(large.bound_us / large.us > 0.8);
    CHECK(large.limit == AttentionForecast::Limit::kMemory);
  }
}

TEST_CASE("a shared prefix is read once: it costs less, and bytes are counted") {
  const GpuClass gpu = gpu_class("H200").value();
  const AttentionForecast shared = forecast("1,64_4096,128", true, gpu, kGpuPlanCosts);
  const AttentionForecast unshared = forecast("1,64_4096,128", false, gpu, kGpuPlanCosts);
  CHECK(unshared.us > 2 * shared.us);
  CHECK(unshared.read_bytes == 64.0 * (4096 + 128) * 2 * 512);  // two key heads, 512 bytes a key and its value
  CHECK(shared.read_bytes < unshared.read_bytes / 4);
}

TEST_CASE("instructions, starts and merges each cost what they cost") {
  const GpuClass gpu = gpu_class("H200").value();
  const AttentionForecast now = forecast("256_256", false, gpu);
  KernelCosts costs;
  costs.unit_start_us += 5;
  CHECK(forecast("256_256", false, gpu, {}, costs).us > now.us + 5);
  costs = {};
  costs.apart_step *= 10;
  costs.together_step *= 10;
  CHECK(forecast("256_256", false, gpu, {}, costs).us > 2 * now.us);
  costs = {};
  costs.merge_batch_us *= 10;
  CHECK(forecast("1_65536", false, gpu, {}, costs).merge_us > 5 * forecast("1_65536", false, gpu).merge_us);
}

TEST_CASE("an item that continues another waits for it") {
  // One long prefix and a leaf: its units begin when the prefix's are done.
  const GpuClass gpu = gpu_class("H200").value();
  const AttentionTree tree = parse_attention_tree("1,2_2048,128").value();
  const Forest forest = grow_forest(tree, 16);
  PlanOptions options;
  options.group_size = 8;
  options.key_heads = 2;
  options.costs.items_per_worker = 0.001;  // nothing is cut
  const auto run = [&](bool chaining) {
    options.chaining = chaining;
    AttentionPlanner planner;
    return forecast_attention({&planner.plan(forest.sequences, options), 16, 2, tree.unique_tokens()}, gpu, {});
  };
  CHECK(run(true).us - run(true).merge_us > run(false).us - run(false).merge_us + 1);
}

TEST_CASE("an unknown GPU is refused by name") {
  CHECK(gpu_class("H200").ok());
  const auto unknown = gpu_class("RTX 9090");
  CHECK(absl::IsInvalidArgument(unknown.status()));
  CHECK(std::string(unknown.status().message()).find("H200") != std::string::npos);
}

}  // namespace
}  // namespace coppice::kernels
