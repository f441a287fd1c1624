// Page tables, level by level.
#include "kernels/bench/attention_forest.h"

#include <utility>

namespace coppice::kernels {

Forest grow_forest(const AttentionTree& tree, std::int32_t page_size) {
  Forest forest;
  std::vector<std::vector<PageId>> level(1);  // page tables of the nodes of the level above
  std::int32_t length = 0;
  for (std::size_t depth = 0; depth < tree.nodes.size(); ++depth) {
    std::vector<std::vector<PageId>> next;
    const auto parents = static_cast<std::int64_t>(level.size());
    const std::int32_t end = length + tree.tokens[depth];
    for (std::int64_t node = 0; node < tree.nodes[depth]; ++node) {
      std::vector<PageId> table = level[static_cast<std::size_t>(node * parents / tree.nodes[depth])];
      table.resize(static_cast<std::size_t>(length / page_size));  // only full pages are shared
      while (static_cast<std::int32_t>(table.size()) * page_size < end) {
        table.push_back(forest.pages++);
      }
      next.push_back(std::move(table));
    }
    level = std::move(next);
    length = end;
  }
  forest.tables = std::move(level);
  for (std::size_t i = 0; i < forest.tables.size(); ++i) {
    PlanSequence sequence;
    forest.tables[i].push_back(forest.pages);  // where the next token would go, for timing updates of the plan
    sequence.pages = forest.tables[i];
    sequence.row_begin = static_cast<std::int32_t>(i);
    sequence.row_count = 1;
    sequence.position_begin = length - 1;
    sequence.identity = i + 1;
    forest.sequences.push_back(sequence);
  }
  ++forest.pages;
  return forest;
}

}  // namespace coppice::kernels
