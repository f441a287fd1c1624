// SuffixSpeculator: drafts from suffix trees. Each sequence has a tree of its own (predicted output, prompt, output).
// Each tenant has one of all its outputs, finished and growing, each behind the last few tokens of its prompt. Corpora
// that are everyone's are a third tree, which sequences are matched with but not entered in.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/speculation/blended_draft.h"
#include "engine/speculation/draft_model.h"
#include "engine/speculation/published_draft.h"
#include "engine/speculation/speculator.h"
#include "engine/speculation/suffix_tree.h"
#include "engine/speculation/tenant_trees.h"

namespace coppice::engine {

enum class DraftScoring : std::uint8_t {
  kBlended,    // draft_model.h
  kPublished,  // published_draft.h, for comparison
};

struct SuffixSpeculatorOptions {
  std::int32_t depth = 64;                                  // longest match, in tokens
  std::size_t memory_bytes = std::size_t{1} << 30;          // for all tenants' trees; the oldest outputs are evicted
  std::uint32_t sequences_max = SuffixTree::kSequencesMax;  // of one tree; fewer in tests
  std::int32_t draft_max = 32;                              // nodes of a draft
  float survival_min = 0.05F;                               // less likely nodes are not drafted
  DraftScoring scoring = DraftScoring::kBlended;
  PublishedOptions published;
  bool shared_between_tenants = false;  // one tree for all: learns faster, but drafts reveal other tenants' text
};

// Owner: an engine. Thread: the engine's.
class SuffixSpeculator final : public Speculator {
 public:
  explicit SuffixSpeculator(const SuffixSpeculatorOptions& options);
  ~SuffixSpeculator() override;

  void begin(SequenceSlot slot, std::string_view tenant) override;
  void observe(SequenceSlot slot, TokenSource source, std::span<const TokenId> tokens) override;
  void propose(SequenceSlot slot, std::int32_t draft_max, float survival_min, DraftTree& tree) override;
  void verified(SequenceSlot slot, const DraftTree& tree, std::span<const std::int32_t> path) override;
  void end(SequenceSlot slot, std::span<const TokenId> remaining) override;

  void learn(Corpus&& corpus) override;
  void forget(const Corpus& corpus) override;
  bool catch_up(std::int32_t tokens_max) override;

  // Captures all tenants' finished outputs, oldest first, without corpora.
  void begin_capture() override;
  bool take_capture(SpeculationSnapshot& out) override;
  // Puts the snapshot's outputs before those to come; catch_up() enters them.
  absl::Status restore(SpeculationSnapshot&& snapshot) override;

  // Of all tenants' trees; sequences' own trees come on top.
  std::size_t bytes() const { return trees_.bytes(); }
  std::size_t tokens() const { return trees_.tokens(); }
  std::size_t tenants() const { return trees_.size(); }
  // Of one sequence's own tree.
  std::size_t own_bytes(SequenceSlot slot) const;

 private:
  // What is kept for a sequence.
  struct State;

  State& state(SequenceSlot slot) const { return *states_[static_cast<std::size_t>(slot)]; }
  void observe_output(State& state, std::span<const TokenId> tokens);
  static void enter_prompt_tail(State& state);
  void keep_output(State& state, std::span<const TokenId> remaining);
  void follow_everyone(State& state, std::span<const TokenId> tokens) const;
  std::span<const DraftSource> sources_of(State& state);
  void dissolve_some();

  const SuffixSpeculatorOptions options_;
  TenantTrees trees_;
  TextBacklog backlog_;
  OutputCapture capture_;
  std::vector<std::unique_ptr<State>> states_;           // by slot
  std::vector<std::unique_ptr<SuffixTree>> dissolving_;  // ended sequences' own trees
  std::array<DraftSource, kExpertTrees> sources_;        // of the last proposal
  DraftModel model_;
  BlendedDraft blended_;
  PublishedDraft published_;
};

}  // namespace coppice::engine
