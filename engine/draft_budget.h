// The draft budget: how many draft nodes a step carries, and of which sequences. A node is worth its chance of being
// accepted and costs what one more row costs in this step. Nodes are added likeliest first while the expected tokens
// per second rise (adaptive verification as vLLM's documentation describes it, with measured step costs instead of a
// table). Pure functions of plain numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/speculation/speculator.h"
#include "engine/step_cost.h"

namespace coppice::engine {

// Tokens that a prompt row is worth: it brings its sequence nearer to its first token, but is none yet. Half, so that
// drafts never crowd out prompts.
inline constexpr double kPromptRowValue = 0.5;
// Ratio of expected tokens per second with and without drafts from which drafts are taken: above the noise of the
// measured costs, about 2 %.
inline constexpr double kGainMin = 1.02;

// A step before any drafts.
struct StepOutlook {
  std::int32_t rows = 0;
  double value = 0;              // expected tokens: one a drawing sequence, kPromptRowValue a prompt row
  double keys_attended = 0;      // summed over rows
  std::int32_t nodes_max = 0;    // draft nodes that would fit the step
  double keys_per_node_min = 0;  // context of the shortest drawing sequence
};

// A draft node as the budget sees it.
struct DraftCandidate {
  float survival = 0;
  std::int32_t keys = 0;    // it would attend to
  std::int32_t member = 0;  // its sequence; any numbering, ascending in the list that was sorted
  std::int32_t node = 0;    // index in its tree
};

// The least chance of survival with which a node can pay in this step; above 1 when none can, so that nothing needs to
// be proposed. 0 while the costs are unknown.
float survival_floor(const StepCost& cost, const StepOutlook& step);

// Brings the candidates that may be chosen to the front, likeliest first (a parent before its children); returns how
// many of the first make the expected tokens per second largest: 0 unless that gains kGainMin. All, up to nodes_max,
// while the costs are unknown.
std::int32_t choose_drafts(const StepCost& cost, const StepOutlook& step, std::vector<DraftCandidate>& candidates);

// Drops the nodes not in `keep` (one flag a node). REQUIRES: a kept node's parent is kept.
void prune(DraftTree& tree, std::span<const std::uint8_t> keep, std::vector<std::int32_t>& scratch);

}  // namespace coppice::engine
