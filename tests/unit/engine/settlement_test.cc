// Walking draft trees, and bringing an accepted side branch's KV into place.
#include "engine/settlement.h"

#include <catch2/catch.hpp>
#include <map>

namespace coppice::engine {
namespace {

std::vector<kernels::SamplingResult> draws(const std::vector<TokenId>& tokens) {
  std::vector<kernels::SamplingResult> results(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    results[i].token = tokens[i];
  }
  return results;
}

std::vector<std::int32_t> accepted(const DraftTree& tree, const std::vector<TokenId>& drawn) {
  std::vector<std::int32_t> path = {99};
  accept_draft(tree, draws(drawn), path);
  return path;
}

}  // namespace

TEST_CASE("a chain is accepted as far as the draws agree", "[settlement]") {
  const DraftTree chain{{10, 11, 12}, {-1, 0, 1}, {}};
  CHECK(accepted(chain, {10, 11, 12, 5}) == std::vector<std::int32_t>{0, 1, 2});
  CHECK(accepted(chain, {10, 11, 13, 12}) == std::vector<std::int32_t>{0, 1});
  CHECK(accepted(chain, {10, 13, 12, 5}) == std::vector<std::int32_t>{0});
  CHECK(accepted(chain, {11, 11, 12, 5}).empty());
  CHECK(accepted({}, {4}).empty());
}

TEST_CASE("in a tree the branch of the draw is followed", "[settlement]") {
  //  0:10 - 1:11       2:20 - 3:21 - 5:22
  //                         \ 4:23
  const DraftTree tree{{10, 11, 20, 21, 23, 22}, {-1, 0, -1, 2, 2, 3}, {}};
  CHECK(accepted(tree, {20, 1, 1, 21, 22, 9, 1}) == std::vector<std::int32_t>{2, 3, 5});
  CHECK(accepted(tree, {20, 1, 1, 23, 9, 9, 1}) == std::vector<std::int32_t>{2, 4});
  CHECK(accepted(tree, {10, 21, 1, 23, 9, 9, 1}) == std::vector<std::int32_t>{0});
  CHECK(accepted(tree, {21, 11, 21, 22, 9, 9, 1}).empty());  // a child of the wrong parent is no child
}

TEST_CASE("a side branch moves to consecutive slots, across pages, in order", "[settlement]") {
  KvPool pool(8, 4);
  PageTable table(pool);
  PageRef gap = pool.allocate();
  for (int i = 0; i < 4; ++i) {
    table.append(pool.allocate());
  }
  std::vector<kernels::SlotMove> moves;
  append_path_moves(table, 4, 6, std::vector<std::int32_t>{0, 3, 4, 7}, moves);
  std::map<KvSlot, std::int32_t> slots;  // slot -> what it holds: the node, by table position 6 + node
  const auto slot_of = [&](std::int32_t position) { return table[position / 4] * 4 + position % 4; };
  for (std::int32_t node = 0; node < 8; ++node) {
    slots[slot_of(6 + node)] = node;
  }
  for (const kernels::SlotMove& move : moves) {
    slots[move.to] = slots[move.from];
  }
  CHECK(moves.size() == 3);
  CHECK(slots[slot_of(6)] == 0);
  CHECK(slots[slot_of(7)] == 3);
  CHECK(slots[slot_of(8)] == 4);
  CHECK(slots[slot_of(9)] == 7);
}

}  // namespace coppice::engine
