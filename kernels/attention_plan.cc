// The planner: moves the last plan on if that is possible, else makes a new one from its parts (plan_tree,
// plan_balance, plan_items).
#include "kernels/attention_plan.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernels/key_positions.h"
#include "kernels/plan_balance.h"
#include "kernels/plan_items.h"
#include "kernels/plan_tree.h"

namespace coppice::kernels {
namespace {

// Updates a plan in place when each of its sequences decodes one row, some tokens further on.
class PlanUpdate {
 public:
  // Notes how `plan` was made. total_cost: of its units.
  void remember(const PlanInput& input, std::span<const PlanUnit> units, const ItemWriter& writer,
                const AttentionPlan& plan, std::int64_t total_cost);
  // Lets the plan reach to the sequences' new positions. Returns false if a new plan would differ in more than that;
  // `plan` is then garbage until it is made anew.
  bool advance(std::span<const PlanSequence> sequences, const PlanOptions& options, AttentionPlan& plan);

 private:
  // A sequence of one row.
  struct Tail {
    std::uint64_t identity = 0;  // 0: it cannot be moved
    std::int32_t row_begin = 0;
    std::int32_t position = 0;
    std::int32_t item = -1;      // the item that ends with the row; -1: none of its own
    std::int32_t page_room = 0;  // entries of plan.pages kept for it
  };

  bool move(const PlanSequence& sequence, Tail& tail, AttentionPlan& plan);
  bool cross_split(const AttentionItem& item, std::int32_t position);
  bool extend_pages(const PlanSequence& sequence, Tail& tail, AttentionItem& item, AttentionPlan& plan) const;

  PlanOptions options_;
  std::vector<Tail> tails_;
  std::int64_t total_cost_ = 0;
  std::size_t pages_built_ = 0;  // plan.pages when it was made
};

void PlanUpdate::remember(const PlanInput& input, std::span<const PlanUnit> units, const ItemWriter& writer,
                          const AttentionPlan& plan, std::int64_t total_cost) {
  options_ = input.options;
  total_cost_ = total_cost;
  pages_built_ = plan.pages.size();
  tails_.clear();
  for (const PlanSequence& sequence : input.sequences) {
    tails_.push_back({sequence.row_count == 1 ? sequence.identity : 0, sequence.row_begin, sequence.position_begin});
  }
  for (std::size_t i = 0; i < units.size(); ++i) {
    const PlanUnit& unit = units[i];
    Tail& tail = tails_[static_cast<std::size_t>(unit.sequence_begin)];
    const std::int32_t first_item = writer.first_item(i);
    if (unit.kind == UnitKind::kLeaf && first_item >= 0 && tail.identity != 0) {
      tail.item = first_item + unit.pieces - 1;
      const AttentionItem& item = plan.items[static_cast<std::size_t>(tail.item)];
      tail.page_room = (kv_split_end(item.key_end - 1) - item.key_begin) / plan.page_size;
    }
  }
}

bool PlanUpdate::advance(std::span<const PlanSequence> sequences, const PlanOptions& options, AttentionPlan& plan) {
  if (sequences.empty() || sequences.size() != tails_.size() || !(options == options_)) {
    return false;
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const PlanSequence& sequence = sequences[i];
    Tail& tail = tails_[i];
    if (tail.identity == 0 || sequence.identity != tail.identity || sequence.row_begin != tail.row_begin ||
        sequence.row_count != 1 || sequence.position_begin < tail.position || tail.item < 0) {
      return false;
    }
    if (sequence.position_begin > tail.position && !move(sequence, tail, plan)) {
      return false;
    }
  }
  return true;
}

// Lets the last item of a sequence reach to its new position.
bool PlanUpdate::move(const PlanSequence& sequence, Tail& tail, AttentionPlan& plan) {
  AttentionItem& item = plan.items[static_cast<std::size_t>(tail.item)];
  const std::int32_t position = sequence.position_begin;
  if (visible_begin(position, plan.window) > 0) {
    return false;  // the window's lower end moves too
  }
  if (position >= kv_split_end(tail.position) && !cross_split(item, position)) {
    return false;
  }
  if (!extend_pages(sequence, tail, item, plan)) {
    return false;
  }
  const std::int32_t moved = position - tail.position;
  item.key_end = position + 1;
  plan.row_positions[static_cast<std::size_t>(tail.row_begin)] = position;
  plan.keys_attended += moved;
  plan.keys_read += moved;
  tail.position = position;
  return true;
}

// May an item enter a new split without any other change of the plan? Only if a plan from scratch would be the same.
// (Sharing cannot grow: where it ended with the end of a sequence, that sequence has no item of its own to move.)
bool PlanUpdate::cross_split(const AttentionItem& item, std::int32_t position) {
  if (!item.folds) {
    return false;
  }
  if (units_per_head(options_) <= 1) {
    return true;
  }
  const std::int64_t limit = cost_limit(options_, total_cost_);
  const std::int64_t cost = unit_cost(options_, item.key_begin, position + 1, 1);
  total_cost_ += cost - unit_cost(options_, item.key_begin, item.key_end, 1);
  return cost_limit(options_, total_cost_) == limit && cost <= limit;
}

// Adds the sequence's new pages to the item's list; to a new list at the end of plan.pages where its room is used up
// (the old one lies idle until the next plan). Returns false if too many entries would lie idle.
bool PlanUpdate::extend_pages(const PlanSequence& sequence, Tail& tail, AttentionItem& item,
                              AttentionPlan& plan) const {
  const std::int32_t position = sequence.position_begin;
  const std::int32_t first = item.key_begin / plan.page_size;
  const std::int32_t page_count = position / plan.page_size + 1 - first;
  std::int32_t known = tail.position / plan.page_size + 1 - first;
  if (page_count > tail.page_room) {
    const std::int32_t room = kv_split_end(position) / plan.page_size - first;
    const std::size_t begin = plan.pages.size();
    if (begin + static_cast<std::size_t>(room) > 2 * pages_built_ + kSparePages) {
      return false;
    }
    plan.pages.resize(begin + static_cast<std::size_t>(room), kNoPage);
    std::copy_n(plan.pages.begin() + item.page_begin, known, plan.pages.begin() + static_cast<std::int64_t>(begin));
    item.page_begin = static_cast<std::int32_t>(begin);
    tail.page_room = room;
  }
  for (; known < page_count; ++known) {
    plan.pages[static_cast<std::size_t>(item.page_begin + known)] =
        sequence.pages[static_cast<std::size_t>(first + known)];
  }
  return true;
}

}  // namespace

struct AttentionPlanner::Parts {
  PlanInput input;
  PlanTree tree;
  UnitOrder order;
  ItemWriter writer;
  AttentionPlan plan;
  PlanUpdate update;
  bool is_updated = false;

  void build(std::span<const PlanSequence> sequences, const PlanOptions& options);
  std::int64_t balance();
};

// Cuts units until every worker has something to do, or until cutting more would take too many partials. Returns what
// they cost together; 0 where nothing needs to be cut.
std::int64_t AttentionPlanner::Parts::balance() {
  const PlanOptions& options = input.options;
  if (units_per_head(options) <= 1) {
    return 0;
  }
  std::int64_t total = total_cost(options, tree.units());
  if (cut_wide_nodes(tree.units(), cost_limit(options, total), input)) {
    tree.build(input, plan.row_positions, row_block(options));
    total = total_cost(options, tree.units());
  }
  const auto row_count = static_cast<std::int32_t>(plan.row_positions.size());
  std::int64_t limit = cost_limit(options, total);
  while (cut_long_units(options, limit, tree.units()) &&
         partials_needed(row_count, tree.units()) > options.partials_most) {
    limit *= 2;
  }
  return total;
}

void AttentionPlanner::Parts::build(std::span<const PlanSequence> sequences, const PlanOptions& options) {
  COPPICE_CHECK(options.page_size > 0 && kSmallSplit % options.page_size == 0, "page_size must divide 128");
  COPPICE_CHECK(options.window >= 0 && options.group_size > 0 && options.key_heads > 0 && options.workers > 0,
                "plan options");
  const bool bounded = options.partials_most < std::numeric_limits<std::int32_t>::max();
  COPPICE_CHECK(options.chaining || !bounded, "items that are not chained take partials without bound");
  input.sequences = sequences;
  input.options = options;
  find_shapes(input, plan.row_positions);
  find_shared_splits(input);
  tree.build(input, plan.row_positions, row_block(options));
  const std::int64_t total = balance();
  writer.write(input, tree, order.sort(options, tree.units()), plan);
  COPPICE_CHECK(plan.partial_count <= options.partials_most, "a plan's partials exceed what was reserved");
  update.remember(input, tree.units(), writer, plan, total);
  input.sequences = {};
}

AttentionPlanner::AttentionPlanner() : parts_(std::make_unique<Parts>()) {}
AttentionPlanner::~AttentionPlanner() = default;
AttentionPlanner::AttentionPlanner(AttentionPlanner&&) noexcept = default;
AttentionPlanner& AttentionPlanner::operator=(AttentionPlanner&&) noexcept = default;

const AttentionPlan& AttentionPlanner::plan(std::span<const PlanSequence> sequences, const PlanOptions& options) {
  parts_->is_updated = parts_->update.advance(sequences, options, parts_->plan);
  if (!parts_->is_updated) {
    parts_->build(sequences, options);
  }
  return parts_->plan;
}

bool AttentionPlanner::is_updated() const {
  return parts_->is_updated;
}

}  // namespace coppice::kernels
