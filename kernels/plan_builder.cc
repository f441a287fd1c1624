// The tree of a step: which rows share which splits.
#include "kernels/plan_builder.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/kv_split.h"
#include "kernels/visible_keys.h"

namespace coppice::kernels {
namespace {

// Rows of a prompt chunk go to items of about this many matrix rows: enough to use each key often, few enough to leave
// every worker some and to keep their results in a core's cache. The smaller number serves many workers.
constexpr std::int32_t kBlockRows = 256;
constexpr std::int32_t kBlockRowsManyWorkers = 64;

bool is_chain(std::span<const std::int32_t> parents) {
  for (std::size_t i = 0; i < parents.size(); ++i) {
    if (parents[i] != static_cast<std::int32_t>(i) - 1) {
      return false;
    }
  }
  return true;
}

}  // namespace

void PlanBuilder::build(std::span<const PlanSequence> sequences, const PlanOptions& options) {
  COPPICE_CHECK(options.page_size > 0 && kSmallSplit % options.page_size == 0, "page_size must divide 128");
  COPPICE_CHECK(options.window >= 0 && options.group_size > 0 && options.key_heads > 0 && options.workers > 0,
                "plan options");
  sequences_ = sequences;
  options_ = options;
  find_shapes();
  find_shared_splits();
  make_units();
  balance();
  order_units();
  emit_items();
  fill_partials();
  count_keys();
  remember_tails();
  sequences_ = {};
}

void PlanBuilder::find_shapes() {
  shapes_.clear();
  plan_.row_positions.clear();
  for (const PlanSequence& sequence : sequences_) {
    COPPICE_CHECK(sequence.row_begin == static_cast<std::int32_t>(plan_.row_positions.size()), "rows must tile");
    const auto drafts = static_cast<std::int32_t>(sequence.draft_parents.size());
    Shape shape;
    shape.draft_tree = !is_chain(sequence.draft_parents);
    shape.linear_count = shape.draft_tree ? sequence.row_count - drafts : sequence.row_count;
    shape.draft_position = sequence.position_begin + sequence.row_count - drafts;
    COPPICE_CHECK(sequence.row_count > drafts, "a sequence needs a linear row");
    const std::int32_t end = sequence.position_begin + shape.linear_count;
    COPPICE_CHECK(static_cast<std::int64_t>(sequence.pages.size()) * options_.page_size >=
                      sequence.position_begin + sequence.row_count,
                  "the page table must cover all rows");
    shape.common_end = shape.draft_tree ? kv_split_begin(shape.draft_position) : end;
    shape.common_splits = shape.common_end == 0 ? 0 : kv_split_index(shape.common_end - 1) + 1;
    for (std::int32_t i = 0; i < shape.linear_count; ++i) {
      plan_.row_positions.push_back(sequence.position_begin + i);
    }
    if (shape.draft_tree) {
      draft_depths_.clear();
      for (const std::int32_t parent : sequence.draft_parents) {
        COPPICE_CHECK(parent < static_cast<std::int32_t>(draft_depths_.size()), "a draft's parent comes first");
        draft_depths_.push_back(parent < 0 ? 0 : draft_depths_[static_cast<std::size_t>(parent)] + 1);
        plan_.row_positions.push_back(shape.draft_position + draft_depths_.back());
      }
    }
    shapes_.push_back(shape);
  }
  plan_.row_count = static_cast<std::int32_t>(plan_.row_positions.size());
  plan_.page_size = options_.page_size;
  plan_.window = options_.window;
}

// Leading pages that sequences index - 1 and index have in common, at most `limit`.
std::int32_t PlanBuilder::common_pages(std::size_t index, std::int32_t limit) const {
  const PlanSequence& sequence = sequences_[index];
  const PlanSequence& before = sequences_[index - 1];
  const std::size_t most = std::min({before.pages.size(), sequence.pages.size(), static_cast<std::size_t>(limit)});
  if (sequence.shared_pages >= 0) {
    return static_cast<std::int32_t>(std::min(static_cast<std::size_t>(sequence.shared_pages), most));
  }
  const PageId* left = before.pages.data();
  const PageId* right = sequence.pages.data();
  constexpr std::size_t kStride = 16;  // pages, 64 bytes: a cache line of each table at a time
  std::size_t i = 0;
  while (i + kStride <= most && std::memcmp(left + i, right + i, kStride * sizeof(PageId)) == 0) {
    i += kStride;
  }
  while (i < most && left[i] == right[i]) {
    ++i;
  }
  return static_cast<std::int32_t>(i);
}

void PlanBuilder::find_shared_splits() {
  shared_splits_.assign(sequences_.size() + 1, 0);
  if (!options_.sharing) {
    return;
  }
  for (std::size_t i = 1; i < sequences_.size(); ++i) {
    const std::int32_t splits = std::min(shapes_[i - 1].common_splits, shapes_[i].common_splits);
    const std::int32_t pages = common_pages(i, kv_split_position(splits) / options_.page_size);
    shared_splits_[i] = std::min(splits, kv_split_whole(pages * options_.page_size));
  }
}

// Every unit passes here: keys below all rows' windows are dropped, and a unit without keys hands its rows to its
// parent when items are made.
void PlanBuilder::add_unit(Unit unit) {
  const std::int32_t first_key = std::max(0, visible_begin(unit.first_position, options_.window));
  unit.key_begin = std::max(unit.key_begin, kv_split_begin(first_key));
  unit.key_begin = std::min(unit.key_begin, unit.key_end);
  units_.push_back(unit);
}

void PlanBuilder::open_node(std::int32_t splits, const Open& first) {
  Open node = first;
  node.splits = splits;
  node.unit = static_cast<std::int32_t>(units_.size());
  units_.emplace_back();  // filled in by close_nodes()
  open_.push_back(node);
}

// Closes the nodes that do not reach over `boundary` (between sequences boundary - 1 and boundary). The lowest of them
// hangs below a new node when what goes on is deeper than the next open one.
void PlanBuilder::close_nodes(std::int32_t boundary) {
  const std::int32_t splits = shared_splits_[static_cast<std::size_t>(boundary)];
  while (open_.back().splits > splits) {
    const Open node = open_.back();
    open_.pop_back();
    if (splits > open_.back().splits) {
      open_node(splits, node);
    } else {
      open_.back().first_position = std::min(open_.back().first_position, node.first_position);
      open_.back().key_end = std::max(open_.back().key_end, node.key_end);
    }
    const PlanSequence& begin = sequences_[static_cast<std::size_t>(node.sequence_begin)];
    const PlanSequence& last = sequences_[static_cast<std::size_t>(boundary - 1)];
    Unit unit;
    unit.kind = UnitKind::kShared;
    unit.row_begin = begin.row_begin;
    unit.row_count = last.row_begin + last.row_count - begin.row_begin;
    unit.key_begin = kv_split_position(open_.back().splits);
    unit.key_end = std::min(kv_split_position(node.splits), node.key_end);
    unit.parent = open_.back().unit;
    unit.sequence_begin = node.sequence_begin;
    unit.sequence_end = boundary;
    unit.first_position = node.first_position;
    add_unit(unit);
    units_[static_cast<std::size_t>(node.unit)] = units_.back();
    units_.pop_back();
  }
}

void PlanBuilder::make_units() {
  units_.clear();
  ended_.clear();
  open_.clear();
  open_.push_back(Open{});
  const auto count = static_cast<std::int32_t>(sequences_.size());
  for (std::int32_t i = 0; i < count; ++i) {
    close_nodes(i);
    const PlanSequence& sequence = sequences_[static_cast<std::size_t>(i)];
    const std::int32_t next = shared_splits_[static_cast<std::size_t>(i) + 1];
    const std::int32_t end = sequence.position_begin + shapes_[static_cast<std::size_t>(i)].linear_count;
    if (next > open_.back().splits) {
      open_node(next, Open{0, i, -1, sequence.position_begin, end});
    }
    open_.back().first_position = std::min(open_.back().first_position, sequence.position_begin);
    open_.back().key_end = std::max(open_.back().key_end, end);
    add_leaf(i);
  }
  close_nodes(count);
}

// What a sequence does not share: its own keys, and its drafted paths.
void PlanBuilder::add_leaf(std::int32_t sequence) {
  const PlanSequence& source = sequences_[static_cast<std::size_t>(sequence)];
  const Shape& shape = shapes_[static_cast<std::size_t>(sequence)];
  std::int32_t parent = open_.back().unit;
  std::int32_t key_begin = kv_split_position(open_.back().splits);
  if (shape.draft_tree && key_begin < shape.common_end) {
    Unit common;
    common.row_begin = source.row_begin;
    common.row_count = source.row_count;
    common.key_begin = key_begin;
    common.key_end = shape.common_end;
    common.parent = parent;
    common.sequence_begin = sequence;
    common.sequence_end = sequence + 1;
    common.first_position = source.position_begin;
    parent = static_cast<std::int32_t>(units_.size());
    key_begin = shape.common_end;
    add_unit(common);
  }
  const std::int32_t covered = add_linear_rows(sequence, parent, key_begin);
  if (covered > 0) {
    ended_.push_back({source.row_begin, covered, parent});
  }
  if (shape.draft_tree) {
    add_draft_rows(sequence, parent);
  }
}

// The linear rows' keys from key_begin on, in blocks of rows. Returns how many rows end before key_begin.
std::int32_t PlanBuilder::add_linear_rows(std::int32_t sequence, std::int32_t parent, std::int32_t key_begin) {
  const PlanSequence& source = sequences_[static_cast<std::size_t>(sequence)];
  const std::int32_t linear_count = shapes_[static_cast<std::size_t>(sequence)].linear_count;
  const std::int32_t matrix_rows = units_per_head() > 1 ? kBlockRowsManyWorkers : kBlockRows;
  const std::int32_t block = std::max(1, matrix_rows / options_.group_size);
  const std::int32_t covered = std::clamp(key_begin - source.position_begin, 0, linear_count);
  for (std::int32_t begin = covered; begin < linear_count; begin += block) {
    const std::int32_t end = std::min(begin + block, linear_count);
    Unit unit;
    unit.row_begin = source.row_begin + begin;
    unit.row_count = end - begin;
    unit.key_begin = key_begin;
    unit.key_end = source.position_begin + end;
    unit.parent = parent;
    unit.sequence_begin = sequence;
    unit.sequence_end = sequence + 1;
    unit.first_position = source.position_begin + begin;
    unit.last = true;
    add_unit(unit);
  }
  return covered;
}

// One unit a draft node: from the split that holds the first drafted position, its committed keys, its ancestors,
// itself. As if the path were an ordinary continuation, hence to the bit the same result.
void PlanBuilder::add_draft_rows(std::int32_t sequence, std::int32_t parent) {
  const PlanSequence& source = sequences_[static_cast<std::size_t>(sequence)];
  const Shape& shape = shapes_[static_cast<std::size_t>(sequence)];
  for (std::int32_t i = shape.linear_count; i < source.row_count; ++i) {
    Unit unit;
    unit.kind = UnitKind::kPath;
    unit.row_begin = source.row_begin + i;
    unit.row_count = 1;
    unit.first_position = plan_.row_positions[static_cast<std::size_t>(unit.row_begin)];
    unit.key_begin = shape.common_end;
    unit.key_end = unit.first_position + 1;
    unit.parent = parent;
    unit.sequence_begin = sequence;
    unit.sequence_end = sequence + 1;
    unit.draft = i - shape.linear_count;
    unit.last = true;
    add_unit(unit);
  }
}

}  // namespace coppice::kernels
