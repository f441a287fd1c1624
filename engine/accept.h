// Accept: which drafted tokens are right. At the sequence's last token and at every draft node the target model's own
// draw is known, made with that position's random numbers (base/random.h), so walking from the root and descending
// while the drawn token is a child gives exactly the tokens that stepping one by one would have given: no probability
// enters, and the answer is the same to the bit with drafts or without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_pool.h"
#include "engine/speculation/speculator.h"
#include "kernels/backend.h"
#include "kernels/sampling.h"

namespace coppice::engine {

// Fills `path` with the accepted draft nodes, from the root's child down. results[0] is the draw after the last linear
// token, results[1 + i] the draw after draft node i. REQUIRES: results.size() = 1 + tree.size(); siblings differ.
void accept_draft(const DraftTree& tree, std::span<const kernels::SamplingResult> results,
                  std::vector<std::int32_t>& path);

// The accepted path, draw by draw: the result that was drawn after the first `accepted` nodes of `path`.
inline const kernels::SamplingResult& draw_along(std::span<const kernels::SamplingResult> results,
                                                 std::span<const std::int32_t> path, std::size_t accepted) {
  return accepted == 0 ? results[0] : results[1 + static_cast<std::size_t>(path[accepted - 1])];
}

// Appends the moves that bring the path's KV from the nodes' table positions (draft_begin + node) to draft_begin,
// draft_begin + 1, … None for nodes that already stand there. In order, no move overwrites a node that a later move
// still reads, because a path's j-th node has index j or more.
void append_path_moves(const PageTable& pages, std::int32_t page_size, std::int32_t draft_begin,
                       std::span<const std::int32_t> path, std::vector<kernels::SlotMove>& moves);

}  // namespace coppice::engine
