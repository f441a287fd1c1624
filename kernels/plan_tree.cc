// The prefix tree of a step's sequences, and what each sequence has for itself.
#include "kernels/plan_tree.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/key_positions.h"

namespace coppice::kernels {
namespace {

bool is_chain(std::span<const std::int32_t> parents) {
  for (std::size_t i = 0; i < parents.size(); ++i) {
    if (parents[i] != static_cast<std::int32_t>(i) - 1) {
      return false;
    }
  }
  return true;
}

SequenceShape shape_of(const PlanSequence& sequence, std::int32_t page_size) {
  const auto drafts = static_cast<std::int32_t>(sequence.draft_parents.size());
  COPPICE_CHECK(sequence.row_count > drafts, "a sequence needs a linear row");
  COPPICE_CHECK(
      static_cast<std::int64_t>(sequence.pages.size()) * page_size >= sequence.position_begin + sequence.row_count,
      "the page table must cover all rows");
  SequenceShape shape;
  shape.draft_tree = !is_chain(sequence.draft_parents);
  shape.linear_count = shape.draft_tree ? sequence.row_count - drafts : sequence.row_count;
  shape.draft_position = sequence.position_begin + sequence.row_count - drafts;
  const std::int32_t end = sequence.position_begin + shape.linear_count;
  shape.common_end = shape.draft_tree ? kv_split_begin(shape.draft_position) : end;
  shape.common_splits = shape.common_end == 0 ? 0 : kv_split_index(shape.common_end - 1) + 1;
  return shape;
}

// Leading pages that two page tables have in common, at most `limit`.
std::int32_t common_pages(std::span<const PageId> left, std::span<const PageId> right, std::size_t limit) {
  constexpr std::size_t kStride = 16;  // pages, 64 bytes: a cache line of each table at a time
  std::size_t i = 0;
  while (i + kStride <= limit && std::memcmp(&left[i], &right[i], kStride * sizeof(PageId)) == 0) {
    i += kStride;
  }
  while (i < limit && left[i] == right[i]) {
    ++i;
  }
  return static_cast<std::int32_t>(i);
}

}  // namespace

void find_shapes(PlanInput& input, std::vector<std::int32_t>& row_positions) {
  input.shapes.clear();
  row_positions.clear();
  for (const PlanSequence& sequence : input.sequences) {
    COPPICE_CHECK(sequence.row_begin == static_cast<std::int32_t>(row_positions.size()), "rows must tile");
    const SequenceShape& shape = input.shapes.emplace_back(shape_of(sequence, input.options.page_size));
    for (std::int32_t i = 0; i < shape.linear_count; ++i) {
      row_positions.push_back(sequence.position_begin + i);
    }
    const std::size_t first_draft = row_positions.size();
    for (std::size_t i = 0; shape.draft_tree && i < sequence.draft_parents.size(); ++i) {
      const std::int32_t parent = sequence.draft_parents[i];
      COPPICE_CHECK(parent < static_cast<std::int32_t>(i), "a draft's parent comes first");
      row_positions.push_back(parent < 0 ? shape.draft_position
                                         : row_positions[first_draft + static_cast<std::size_t>(parent)] + 1);
    }
  }
}

void find_shared_splits(PlanInput& input) {
  input.shared_splits.assign(input.sequences.size() + 1, 0);
  if (!input.options.sharing) {
    return;
  }
  const std::int32_t page_size = input.options.page_size;
  for (std::size_t i = 1; i < input.sequences.size(); ++i) {
    const PlanSequence& before = input.sequences[i - 1];
    const PlanSequence& sequence = input.sequences[i];
    const std::int32_t splits = std::min(input.shapes[i - 1].common_splits, input.shapes[i].common_splits);
    const auto limit = static_cast<std::size_t>(kv_split_position(splits) / page_size);
    const std::size_t most = std::min({before.pages.size(), sequence.pages.size(), limit});
    const std::int32_t pages = sequence.shared_pages >= 0
                                   ? std::min(sequence.shared_pages, static_cast<std::int32_t>(most))
                                   : common_pages(before.pages, sequence.pages, most);
    input.shared_splits[i] = std::min(splits, kv_split_whole(pages * page_size));
  }
}

void PlanTree::OpenNode::cover(std::int32_t first, std::int32_t end) {
  first_position = std::min(first_position, first);
  key_end = std::max(key_end, end);
}

void PlanTree::build(const PlanInput& input, std::span<const std::int32_t> row_positions, std::int32_t row_block) {
  input_ = &input;
  row_positions_ = row_positions;
  row_block_ = row_block;
  units_.clear();
  ended_.clear();
  open_.assign(1, OpenNode{});  // the root: no splits, never closed
  const auto count = static_cast<std::int32_t>(input.sequences.size());
  for (std::int32_t i = 0; i < count; ++i) {
    close_nodes(i);
    const std::int32_t begin = input.sequences[static_cast<std::size_t>(i)].position_begin;
    const std::int32_t end = begin + input.shapes[static_cast<std::size_t>(i)].linear_count;
    const std::int32_t splits = input.shared_splits[static_cast<std::size_t>(i) + 1];
    if (splits > open_.back().splits) {
      open_node({.sequence_begin = i, .first_position = begin, .key_end = end}, splits);
    }
    open_.back().cover(begin, end);
    add_leaf(i);
  }
  close_nodes(count);
  input_ = nullptr;
  row_positions_ = {};
}

// Opens a node that reaches to `splits` and begins with the rows of `node`. Its unit is filled in when it is closed.
void PlanTree::open_node(OpenNode node, std::int32_t splits) {
  node.splits = splits;
  node.unit = static_cast<std::int32_t>(units_.size());
  units_.emplace_back();
  open_.push_back(node);
}

// Closes the nodes that do not reach over `boundary` (between sequences boundary - 1 and boundary). Where the
// neighbours share more than the next open node covers, the closed node hangs below a new one of that depth.
void PlanTree::close_nodes(std::int32_t boundary) {
  const std::int32_t splits = input_->shared_splits[static_cast<std::size_t>(boundary)];
  while (open_.back().splits > splits) {
    const OpenNode closed = open_.back();
    open_.pop_back();
    if (open_.back().splits < splits) {
      open_node(closed, splits);
    }
    open_.back().cover(closed.first_position, closed.key_end);
    PlanUnit& unit = units_[static_cast<std::size_t>(closed.unit)];
    unit = node_unit(closed, open_.back(), boundary);
    clip(unit);
  }
}

PlanUnit PlanTree::node_unit(const OpenNode& node, const OpenNode& parent, std::int32_t boundary) const {
  const PlanSequence& first = input_->sequences[static_cast<std::size_t>(node.sequence_begin)];
  const PlanSequence& last = input_->sequences[static_cast<std::size_t>(boundary - 1)];
  return {.kind = UnitKind::kShared,
          .row_begin = first.row_begin,
          .row_count = last.row_begin + last.row_count - first.row_begin,
          .key_begin = kv_split_position(parent.splits),
          .key_end = std::min(kv_split_position(node.splits), node.key_end),
          .parent = parent.unit,
          .sequence_begin = node.sequence_begin,
          .sequence_end = boundary,
          .first_position = node.first_position};
}

// Drops the keys below all rows' windows. A unit left without keys hands its rows to its parent when items are made.
void PlanTree::clip(PlanUnit& unit) const {
  const std::int32_t first_key = std::max(0, visible_begin(unit.first_position, input_->options.window));
  unit.key_begin = std::min(std::max(unit.key_begin, kv_split_begin(first_key)), unit.key_end);
}

// What a sequence does not share: its own keys, and its drafted paths.
void PlanTree::add_leaf(std::int32_t sequence) {
  const SequenceShape& shape = input_->shapes[static_cast<std::size_t>(sequence)];
  Leaf leaf{.sequence = sequence, .parent = open_.back().unit, .key_begin = kv_split_position(open_.back().splits)};
  if (shape.draft_tree && leaf.key_begin < shape.common_end) {
    leaf = add_common_rows(leaf);
  }
  add_linear_rows(leaf);
  if (shape.draft_tree) {
    add_draft_rows(leaf);
  }
}

PlanUnit& PlanTree::add_unit(const Leaf& leaf) {
  PlanUnit& unit = units_.emplace_back();
  unit.key_begin = leaf.key_begin;
  unit.parent = leaf.parent;
  unit.sequence_begin = leaf.sequence;
  unit.sequence_end = leaf.sequence + 1;
  return unit;
}

// The keys that all rows of a sequence with a draft tree read through its page table. Returns the leaf below them.
PlanTree::Leaf PlanTree::add_common_rows(const Leaf& leaf) {
  const PlanSequence& source = input_->sequences[static_cast<std::size_t>(leaf.sequence)];
  PlanUnit& unit = add_unit(leaf);
  unit.row_begin = source.row_begin;
  unit.row_count = source.row_count;
  unit.key_end = input_->shapes[static_cast<std::size_t>(leaf.sequence)].common_end;
  unit.first_position = source.position_begin;
  const Leaf below{leaf.sequence, static_cast<std::int32_t>(units_.size()) - 1, unit.key_end};
  clip(unit);
  return below;
}

// The linear rows' keys from the leaf's first on, in blocks of rows. Rows that end before it are noted as ended.
void PlanTree::add_linear_rows(const Leaf& leaf) {
  const PlanSequence& source = input_->sequences[static_cast<std::size_t>(leaf.sequence)];
  const std::int32_t linear_count = input_->shapes[static_cast<std::size_t>(leaf.sequence)].linear_count;
  const std::int32_t covered = std::clamp(leaf.key_begin - source.position_begin, 0, linear_count);
  for (std::int32_t begin = covered; begin < linear_count; begin += row_block_) {
    const std::int32_t end = std::min(begin + row_block_, linear_count);
    PlanUnit& unit = add_unit(leaf);
    unit.row_begin = source.row_begin + begin;
    unit.row_count = end - begin;
    unit.key_end = source.position_begin + end;
    unit.first_position = source.position_begin + begin;
    unit.last = true;
    clip(unit);
  }
  if (covered > 0) {
    ended_.push_back({source.row_begin, covered, leaf.parent});
  }
}

// One unit a draft node: from the split that holds the first drafted position, its committed keys, its ancestors,
// itself. As if the path were an ordinary continuation, hence to the bit the same result.
void PlanTree::add_draft_rows(const Leaf& leaf) {
  const PlanSequence& source = input_->sequences[static_cast<std::size_t>(leaf.sequence)];
  const SequenceShape& shape = input_->shapes[static_cast<std::size_t>(leaf.sequence)];
  for (std::int32_t i = shape.linear_count; i < source.row_count; ++i) {
    PlanUnit& unit = add_unit(leaf);
    unit.kind = UnitKind::kPath;
    unit.row_begin = source.row_begin + i;
    unit.row_count = 1;
    unit.first_position = row_positions_[static_cast<std::size_t>(unit.row_begin)];
    unit.key_begin = shape.common_end;
    unit.key_end = unit.first_position + 1;
    unit.draft = i - shape.linear_count;
    unit.last = true;
    clip(unit);
  }
}

}  // namespace coppice::kernels
