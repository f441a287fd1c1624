// PlanBuilder: how an AttentionPlan is made from scratch, and how it is moved a few tokens further. Private to the
// planner; attention_plan.h says what a plan is.
//
// Sharing is found from page identity. Between two neighbours of the depth-first list, `shared_splits` counts the
// splits that lie wholly in their common run of pages. The intervals of that array (maximal ranges of neighbours above
// a level: the LCP intervals of suffix-array literature, Abouelhoda et al. 2004) are exactly the nodes of the prefix
// tree, cut at split boundaries; one pass with a stack finds them. A node, or what a sequence has for itself (a leaf),
// becomes a Unit = rows × splits; a unit becomes one item, or several when it must be cut to keep all workers busy.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_plan.h"

namespace coppice::kernels {

// Idle page entries that updates of a plan may leave in its page lists before the lists are written anew: few beside
// the lists of a full step, enough that growing sequences rarely cause it. Device buffers of plans have room for as
// many.
inline constexpr std::size_t kSparePages = 4096;

// Owner: an AttentionPlanner. Thread: its caller's.
class PlanBuilder {
 public:
  // Makes the plan anew.
  void build(std::span<const PlanSequence> sequences, const PlanOptions& options);
  // Tries to move the last plan on; false: the plan is now garbage, build() it.
  bool update(std::span<const PlanSequence> sequences, const PlanOptions& options);
  const AttentionPlan& plan() const { return plan_; }

 private:
  enum class UnitKind : std::uint8_t { kShared, kLeaf, kPath };
  // Rows [row_begin, row_begin + row_count) × keys [key_begin, key_end): what a node adds to its parent's keys.
  struct Unit {
    UnitKind kind = UnitKind::kLeaf;
    std::int32_t row_begin = 0;
    std::int32_t row_count = 0;
    std::int32_t key_begin = 0;
    std::int32_t key_end = 0;
    std::int32_t parent = -1;         // unit that covers the splits just before, for these rows and perhaps others
    std::int32_t sequence_begin = 0;  // the first one's page table is read
    std::int32_t sequence_end = 0;
    std::int32_t draft = -1;          // kPath: which node
    std::int32_t first_position = 0;  // smallest of its rows
    std::int32_t pieces = 1;          // items it is cut into, by keys
    std::int32_t item = -1;           // its first item
    std::int32_t depth = 0;           // items that cover its rows, down to and with this unit
    bool last = false;                // nothing follows for any of its rows
    bool broken = false;              // it cannot continue its parent's states
    bool broken_after = false;        // nor can its children continue its own
  };
  // Per sequence, derived once.
  struct Shape {
    std::int32_t linear_count = 0;    // rows whose keys are simply positions 0 … position
    std::int32_t draft_position = 0;  // where the first level of a draft tree stands
    std::int32_t common_end = 0;      // keys [0, common_end) are read through the page table by all rows
    std::int32_t common_splits = 0;   // splits that begin before common_end
    bool draft_tree = false;
  };
  // A node whose last sequence is not known yet.
  struct Open {
    std::int32_t splits = 0;
    std::int32_t sequence_begin = 0;
    std::int32_t unit = -1;
    std::int32_t first_position = 0;  // smallest of the rows so far
    std::int32_t key_end = 0;         // largest position so far, plus one
  };
  // Partial slots of a range of rows, for the CSR: one state a row (splits = 0), or one a split and row.
  struct Segment {
    std::int32_t row_begin = 0;
    std::int32_t row_count = 0;
    std::int32_t slot_begin = 0;
    std::int32_t splits = 0;
  };
  // Rows whose last keys are in a unit that other rows outlive.
  struct Ended {
    std::int32_t row_begin = 0;
    std::int32_t row_count = 0;
    std::int32_t parent = -1;
  };
  // What update() remembers of a sequence of one row.
  struct Tail {
    std::uint64_t identity = 0;
    std::int32_t row_begin = 0;
    std::int32_t position = 0;
    std::int32_t item = -1;      // the item that ends with the row; -1: none of its own
    std::int32_t page_room = 0;  // entries of plan.pages kept for it
  };

  // The tree (plan_builder.cc).
  void find_shapes();
  void find_shared_splits();
  std::int32_t common_pages(std::size_t index, std::int32_t limit) const;
  void make_units();
  void close_nodes(std::int32_t boundary);
  void open_node(std::int32_t splits, const Open& first);
  void add_unit(Unit unit);
  void add_leaf(std::int32_t sequence);
  std::int32_t add_linear_rows(std::int32_t sequence, std::int32_t parent, std::int32_t key_begin);
  void add_draft_rows(std::int32_t sequence, std::int32_t parent);

  // Balance (plan_balance.cc).
  std::int32_t units_per_head() const;
  std::int64_t limit_for(std::int64_t total) const;
  std::int64_t cost_of(std::int32_t key_begin, std::int32_t key_end, std::int32_t rows) const;
  void balance();
  bool cut_wide_nodes(std::int64_t limit);
  void order_units();

  // Items and partials (plan_items.cc).
  void emit_items();
  void emit_unit(Unit& unit);
  void emit_piece(const Unit& unit, std::int32_t piece, std::int32_t key_begin, std::int32_t key_end);
  void emit_pages(const Unit& unit, AttentionItem& item);
  void emit_path_slots(const Unit& unit, AttentionItem& item);
  void fill_partials();
  void count_keys();
  void remember_tails();
  bool move_tail(const PlanSequence& sequence, Tail& tail);
  bool cross_split(const AttentionItem& item, std::int32_t position);

  std::span<const PlanSequence> sequences_;
  PlanOptions options_;
  AttentionPlan plan_;
  std::vector<Shape> shapes_;
  std::vector<std::int32_t> shared_splits_;  // [sequences + 1] with the one before; 0 at both ends
  std::vector<Open> open_;
  std::vector<Unit> units_;
  std::vector<std::int32_t> order_;
  std::vector<std::uint32_t> order_keys_;
  std::vector<std::int32_t> order_scratch_;
  std::vector<Segment> segments_;
  std::vector<Ended> ended_;
  std::vector<std::int32_t> draft_depths_;
  std::vector<Tail> tails_;
  std::int64_t total_cost_ = 0;
  std::size_t pages_built_ = 0;
  std::int32_t next_slot_ = 0;
  bool states_used_ = false;
};

}  // namespace coppice::kernels
