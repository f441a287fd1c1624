// The planner's parts one by one, on small inputs whose results are written out by hand.
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/plan_balance.h"
#include "kernels/plan_items.h"
#include "kernels/plan_tree.h"

namespace coppice::kernels {
namespace {

// Three sequences of one row each: 0 and 1 share 256 tokens, 2 shares the first 128 with both. Pages of 128 tokens.
class ThreeSequences {
 public:
  ThreeSequences() {
    input.options.page_size = 128;
    input.sequences = sequences;
    find_shapes(input, positions);
    find_shared_splits(input);
  }

  const std::vector<PageId> pages[3] = {{0, 1, 2}, {0, 1, 3}, {0, 4}};
  const PlanSequence sequences[3] = {{.pages = pages[0], .row_begin = 0, .row_count = 1, .position_begin = 300},
                                     {.pages = pages[1], .row_begin = 1, .row_count = 1, .position_begin = 260},
                                     {.pages = pages[2], .row_begin = 2, .row_count = 1, .position_begin = 200}};
  PlanInput input;
  std::vector<std::int32_t> positions;
};

TEST_CASE("shared splits are those that lie wholly in common pages", "[plan]") {
  ThreeSequences step;
  CHECK(step.positions == std::vector<std::int32_t>{300, 260, 200});
  CHECK(step.input.shared_splits == std::vector<std::int32_t>{0, 2, 1, 0});
  step.input.options.sharing = false;
  find_shared_splits(step.input);
  CHECK(step.input.shared_splits == std::vector<std::int32_t>{0, 0, 0, 0});
}

TEST_CASE("a draft tree's rows stand one position below their parents", "[plan]") {
  const std::vector<PageId> pages = {0, 1};
  const std::vector<std::int32_t> parents = {-1, -1, 0, 2};
  const PlanSequence sequence{
      .pages = pages, .row_begin = 0, .row_count = 6, .position_begin = 140, .draft_parents = parents};
  PlanInput input;
  input.options.page_size = 128;
  input.sequences = {&sequence, 1};
  std::vector<std::int32_t> positions;
  find_shapes(input, positions);
  CHECK(positions == std::vector<std::int32_t>{140, 141, 142, 142, 143, 144});
  CHECK(input.shapes[0].draft_tree);
  CHECK(input.shapes[0].linear_count == 2);
  CHECK(input.shapes[0].common_end == 128);
}

TEST_CASE("the intervals of shared splits are the nodes of the tree", "[plan]") {
  ThreeSequences step;
  PlanTree tree;
  tree.build(step.input, step.positions, 256);
  const std::vector<PlanUnit>& units = tree.units();
  REQUIRE(units.size() == 5);
  // The pair of 0 and 1 opens first; the node of all three above it is found when the pair closes.
  CHECK((units[0].kind == UnitKind::kShared && units[0].row_count == 2));
  CHECK((units[0].key_begin == 128 && units[0].key_end == 256 && units[0].parent == 3));
  CHECK((units[3].kind == UnitKind::kShared && units[3].row_count == 3));
  CHECK((units[3].key_begin == 0 && units[3].key_end == 128 && units[3].parent == -1));
  CHECK((units[1].kind == UnitKind::kLeaf && units[1].key_begin == 256 && units[1].key_end == 301));
  CHECK((units[2].parent == 0 && units[2].key_begin == 256 && units[2].key_end == 261 && units[2].last));
  CHECK((units[4].parent == 3 && units[4].key_begin == 128 && units[4].key_end == 201));
  CHECK(tree.ended().empty());
}

TEST_CASE("a row whose last key is shared with a longer one ends in the shared unit", "[plan]") {
  const std::vector<PageId> pages = {0, 1};
  const PlanSequence sequences[2] = {{.pages = pages, .row_begin = 0, .row_count = 1, .position_begin = 127},
                                     {.pages = pages, .row_begin = 1, .row_count = 1, .position_begin = 140}};
  PlanInput input;
  input.options.page_size = 128;
  input.sequences = sequences;
  std::vector<std::int32_t> positions;
  find_shapes(input, positions);
  find_shared_splits(input);
  PlanTree tree;
  tree.build(input, positions, 256);
  REQUIRE(tree.ended().size() == 1);
  CHECK(tree.ended()[0].row_begin == 0);
  CHECK(tree.ended()[0].parent == 0);
}

TEST_CASE("costs count whole splits, and the limit is a power of two", "[plan]") {
  PlanOptions options;
  options.group_size = 3;
  options.workers = 8;
  options.key_heads = 2;
  CHECK(units_per_head(options) == 16);
  CHECK(unit_cost(options, 0, 0, 5) == 0);
  CHECK(unit_cost(options, 0, 1, 1) == 128 * (13 + 3));
  CHECK(unit_cost(options, 0, 128, 1) == unit_cost(options, 0, 1, 1));
  CHECK(cost_limit(options, 0) == 4096);
  CHECK(cost_limit(options, 16 * 10000) == 8192);
  CHECK(row_block(options) == 21);
}

TEST_CASE("units start at their split, the dear ones first", "[plan]") {
  std::vector<PlanUnit> units(4);
  units[0] = {.row_count = 1, .key_begin = 128, .key_end = 256};
  units[1] = {.row_count = 1, .key_begin = 0, .key_end = 128};
  units[2] = {.row_count = 1, .key_begin = 128, .key_end = 1024};
  units[3] = {.row_count = 1, .key_begin = 0, .key_end = 2048};
  UnitOrder order;
  const auto sorted = order.sort(PlanOptions{}, units);
  CHECK(std::vector<std::int32_t>(sorted.begin(), sorted.end()) == std::vector<std::int32_t>{3, 1, 2, 0});
}

TEST_CASE("a long unit is cut into pieces that cost no more than the limit", "[plan]") {
  PlanOptions options;
  options.workers = 4;
  std::vector<PlanUnit> units(2);
  units[0] = {.row_count = 1, .key_begin = 0, .key_end = 1024};
  units[1] = {.kind = UnitKind::kPath, .row_count = 1, .key_begin = 0, .key_end = 1024};
  cut_long_units(options, 4096, units);
  CHECK(units[0].pieces == 4);  // 1,024 keys of cost 14
  CHECK(units[1].pieces == 1);
}

TEST_CASE("each row lists its partial slots in the order in which they were added", "[plan]") {
  PartialSlots partials;
  partials.clear(3);
  partials.add_states(0, 2);
  CHECK(partials.add_splits(0, 2, 2) == 3);
  CHECK(partials.add_splits(1, 1, 1) == 7);
  CHECK(partials.count() == 8);
  std::vector<std::int32_t> begin;
  std::vector<std::int32_t> slots;
  partials.list(begin, slots);
  CHECK(begin == std::vector<std::int32_t>{0, 3, 7, 7});
  CHECK(slots == std::vector<std::int32_t>{0, 3, 5, 1, 4, 6, 7});
  partials.clear(2);
  partials.list(begin, slots);
  CHECK(begin == std::vector<std::int32_t>{0, 0, 0});
  CHECK(slots.empty());
}

}  // namespace
}  // namespace coppice::kernels
