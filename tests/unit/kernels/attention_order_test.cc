// The order in which attention's tasks are handed out on the CPU.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/cpu/attention.h"

namespace coppice::kernels::cpu {
namespace {

// A plan in which item i < parents of the second half runs after i.
AttentionPlan plan_of(std::int32_t items, std::int32_t parents) {
  AttentionPlan plan;
  plan.items.resize(static_cast<std::size_t>(items));
  for (std::int32_t i = parents; i < items && parents > 0; ++i) {
    plan.items[static_cast<std::size_t>(i)].after = (i - parents) % parents;
  }
  return plan;
}

TEST_CASE("every task is handed out once, behind the one it runs after", "[attention]") {
  for (std::int32_t items = 1; items <= 12; ++items) {
    for (std::int32_t parents = 0; parents <= items / 2; ++parents) {
      for (const std::int32_t key_heads : {1, 2, 3, 8}) {
        for (const int threads : {1, 2, 16}) {
          const AttentionPlan plan = plan_of(items, parents);
          const TaskOrder order = order_tasks(plan, key_heads, threads);
          INFO(items << " items, " << parents << " parents, " << key_heads << " heads, " << threads << " threads");
          REQUIRE(key_heads % order.round_heads == 0);
          std::vector<std::int64_t> place_of(static_cast<std::size_t>(items * key_heads), -1);
          for (std::int64_t place = 0; place < std::ssize(place_of); ++place) {
            const auto task = static_cast<std::size_t>(order.at(place));
            REQUIRE(task < place_of.size());
            REQUIRE(place_of[task] == -1);
            place_of[task] = place;
            const std::int32_t after = plan.items[task / static_cast<std::size_t>(key_heads)].after;
            if (after >= 0) {
              const std::size_t before = static_cast<std::size_t>(after * key_heads) + task % key_heads;
              REQUIRE(place_of[before] >= 0);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("rounds mix the shared items of their heads with the single ones of the round before", "[attention]") {
  const AttentionPlan plan = plan_of(4, 2);  // 0 and 1 are shared; 2 and 3 run after them
  const TaskOrder order = order_tasks(plan, 2, 1);
  REQUIRE(order.rounds == 2);
  std::vector<std::int64_t> tasks;
  for (std::int64_t place = 0; place < 8; ++place) {
    tasks.push_back(order.at(place));
  }
  // Task = 2 * item + head: shared ones of head 0; of head 1, in turns with single ones of head 0; single ones of 1.
  CHECK(tasks == std::vector<std::int64_t>{0, 2, 1, 4, 3, 6, 5, 7});
}

}  // namespace
}  // namespace coppice::kernels::cpu
