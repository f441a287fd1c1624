// The planner's first part: which rows of a step share which keys, as the prefix tree of its sequences.
//
// Sharing is found from page identity. Between two neighbours of the depth-first list, `shared_splits` counts the
// splits that lie wholly in their common run of pages. The intervals of that array (maximal ranges of neighbours above
// a level: the LCP intervals of suffix-array literature, Abouelhoda et al. 2004) are exactly the nodes of the prefix
// tree, cut at split boundaries; one pass with a stack finds them. A node, or what a sequence has for itself (a leaf),
// becomes a PlanUnit = rows × splits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention_plan.h"

namespace coppice::kernels {

// How one sequence's rows read their keys.
struct SequenceShape {
  std::int32_t linear_count = 0;    // rows whose keys are simply positions 0 … position
  std::int32_t draft_position = 0;  // position of the first level of a draft tree
  std::int32_t common_end = 0;      // keys [0, common_end) are read through the page table by all rows
  std::int32_t common_splits = 0;   // splits that begin before common_end
  bool draft_tree = false;          // drafts that are not one chain: linear rows, then tree rows
};

// One step as the parts of the planner read it. `sequences` is the caller's and valid during one planning.
struct PlanInput {
  std::span<const PlanSequence> sequences;
  PlanOptions options;
  std::vector<SequenceShape> shapes;        // [sequences]
  std::vector<std::int32_t> shared_splits;  // [sequences + 1] with the sequence before; 0 at both ends
};

enum class UnitKind : std::uint8_t {
  kShared,  // a node of the tree: rows of several sequences
  kLeaf,    // keys that one sequence does not share
  kPath,    // one draft node: keys through single slots
};

// Rows [row_begin, row_begin + row_count) × keys [key_begin, key_end): what a node adds to its parent's keys. It
// becomes `pieces` items, or none if it has no keys.
struct PlanUnit {
  UnitKind kind = UnitKind::kLeaf;
  std::int32_t row_begin = 0;
  std::int32_t row_count = 0;
  std::int32_t key_begin = 0;
  std::int32_t key_end = 0;
  std::int32_t parent = -1;         // unit that covers the splits just before, for these rows and perhaps others
  std::int32_t sequence_begin = 0;  // the first one's page table is read
  std::int32_t sequence_end = 0;
  std::int32_t draft = -1;          // kPath: index of the draft node
  std::int32_t first_position = 0;  // smallest of its rows
  std::int32_t pieces = 1;          // items that it is cut into, by keys
  bool last = false;                // no other unit follows for any of its rows
};

// Rows whose last keys are in `parent`, a unit that other rows outlive.
struct EndedRows {
  std::int32_t row_begin = 0;
  std::int32_t row_count = 0;
  std::int32_t parent = -1;
};

// Derives input.shapes from the sequences and writes the position of every row. REQUIRES: rows tile; a page table
// covers its rows; a draft's parent comes before it.
void find_shapes(PlanInput& input, std::vector<std::int32_t>& row_positions);

// Derives input.shared_splits from the page tables; all 0 without sharing. REQUIRES: input.shapes.
void find_shared_splits(PlanInput& input);

// Makes the units of a step. Keeps its arrays between steps.
class PlanTree {
 public:
  // A linear row stands in units of at most `row_block` rows. REQUIRES: input.shapes and input.shared_splits.
  void build(const PlanInput& input, std::span<const std::int32_t> row_positions, std::int32_t row_block);

  // Of the last build(). A parent may stand behind its children.
  std::vector<PlanUnit>& units() { return units_; }
  const std::vector<PlanUnit>& units() const { return units_; }
  const std::vector<EndedRows>& ended() const { return ended_; }

 private:
  // A node whose last sequence is not known yet.
  struct OpenNode {
    std::int32_t splits = 0;
    std::int32_t sequence_begin = 0;
    std::int32_t unit = -1;
    std::int32_t first_position = 0;  // smallest of the rows so far
    std::int32_t key_end = 0;         // largest position so far, plus one

    // Takes in rows whose smallest and largest positions are these.
    void cover(std::int32_t first, std::int32_t end);
  };
  // What the parts of one leaf have in common.
  struct Leaf {
    std::int32_t sequence = 0;
    std::int32_t parent = -1;
    std::int32_t key_begin = 0;
  };

  void open_node(OpenNode node, std::int32_t splits);
  void close_nodes(std::int32_t boundary);
  PlanUnit node_unit(const OpenNode& node, const OpenNode& parent, std::int32_t boundary) const;
  void add_leaf(std::int32_t sequence);
  Leaf add_common_rows(const Leaf& leaf);
  void add_linear_rows(const Leaf& leaf);
  void add_draft_rows(const Leaf& leaf);
  PlanUnit& add_unit(const Leaf& leaf);
  void clip(PlanUnit& unit) const;

  const PlanInput* input_ = nullptr;  // during build()
  std::span<const std::int32_t> row_positions_;
  std::int32_t row_block_ = 1;
  std::vector<PlanUnit> units_;
  std::vector<EndedRows> ended_;
  std::vector<OpenNode> open_;
};

}  // namespace coppice::kernels
