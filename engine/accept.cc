// Walking a draft tree by the target's own draws, and the slot moves an accepted side branch needs.
#include "engine/accept.h"

#include "base/check.h"

namespace coppice::engine {

void accept_draft(const DraftTree& tree, std::span<const kernels::SamplingResult> results,
                  std::vector<std::int32_t>& path) {
  COPPICE_CHECK(results.size() == tree.tokens.size() + 1, "one draw for the last token and one for each draft node");
  path.clear();
  std::int32_t at = -1;
  TokenId drawn = results[0].token;
  // Parents stand before children, so one pass finds the whole path.
  for (std::int32_t node = 0; node < tree.size(); ++node) {
    const auto index = static_cast<std::size_t>(node);
    if (tree.parents[index] == at && tree.tokens[index] == drawn) {
      path.push_back(node);
      at = node;
      drawn = results[index + 1].token;
    }
  }
}

void append_path_moves(const PageTable& pages, std::int32_t page_size, std::int32_t draft_begin,
                       std::span<const std::int32_t> path, std::vector<kernels::SlotMove>& moves) {
  for (std::size_t depth = 0; depth < path.size(); ++depth) {
    const auto place = static_cast<std::int32_t>(depth);
    if (path[depth] != place) {
      moves.push_back(
          {pages.slot_of(draft_begin + path[depth], page_size), pages.slot_of(draft_begin + place, page_size)});
    }
  }
}

}  // namespace coppice::engine
