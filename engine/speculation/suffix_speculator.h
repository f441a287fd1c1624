// SuffixSpeculator: drafts from suffix trees. Each sequence has a tree of its own (predicted output, prompt, output);
// each tenant has one of all its outputs, finished and running, each behind the last few tokens of its prompt, so that
// nothing of one tenant's text shows in what another is guessed, not even by timing. Corpora that are everyone's are a
// third tree, which sequences are matched with but not entered in.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/speculation/blended_draft.h"
#include "engine/speculation/draft_model.h"
#include "engine/speculation/published_draft.h"
#include "engine/speculation/snapshot_file.h"
#include "engine/speculation/speculator.h"
#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

enum class DraftScoring : std::uint8_t {
  kBlended,    // draft_model.h
  kPublished,  // published_draft.h, for comparison
};

struct SuffixSpeculatorOptions {
  std::int32_t depth = 64;                          // longest match
  std::size_t memory_bytes = std::size_t{1} << 30;  // for all tenants' trees; the oldest outputs go
  std::int32_t draft_max = 32;                      // nodes of a draft
  float survival_min = 0.05F;                       // guesses less likely are not made at all
  DraftScoring scoring = DraftScoring::kBlended;
  PublishedOptions published;
  bool shared_between_tenants = false;  // one tree for all: faster to learn, but drafts tell of others' text
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
  void end(SequenceSlot slot, std::span<const TokenId> rest) override;

  void learn(Corpus&& corpus) override;
  void forget(const Corpus& corpus) override;
  bool catch_up(std::int32_t tokens_max) override;

  // All tenants' finished outputs, oldest first; corpora are not among them. Shares the texts rather than copying them.
  // Outputs that are evicted while the copy is made may be missing in it.
  void begin_capture() override;
  bool take_capture(SpeculationSnapshot& out) override;
  // Puts the snapshot's outputs before those to come; catch_up() does the work.
  absl::Status restore(SpeculationSnapshot&& snapshot) override;

  // Of all tenants' trees; sequences' own trees come on top.
  std::size_t bytes() const { return bytes_; }
  std::size_t tokens() const;
  std::size_t tenants() const { return tenants_.size(); }
  // Of one sequence's own tree.
  std::size_t own_bytes(SequenceSlot slot) const;

 private:
  struct Tenant;
  struct State;
  struct Library;
  struct Feed;
  using LibraryKey = std::pair<std::string, std::string>;  // tenant, or "*" and everyone's; name

  Tenant& tenant_of(std::string_view name);
  static void enter_prompt_tail(State& state);
  void account(Tenant& tenant);
  void keep(Tenant& tenant, SuffixTree::SequenceId sequence);
  void evict(std::size_t suffixes_max);
  void feed(Tenant& tenant, Library* library, const SharedText& text);
  std::size_t feed_some(std::size_t tokens_max);
  std::size_t discard_some(std::size_t tokens_max);
  void capture_some();
  void advance_ghost(State& state, std::span<const TokenId> tokens) const;
  std::span<const DraftSource> sources_of(State& state);
  static LibraryKey key_of(const Corpus& corpus);
  void dissolve_some();

  const SuffixSpeculatorOptions options_;
  std::map<std::string, std::unique_ptr<Tenant>, std::less<>> tenants_;
  std::unique_ptr<Tenant> everyone_;    // corpora for all tenants: read by all, written by no request
  std::uint64_t everyone_version_ = 1;  // changes with its tree
  std::array<DraftSource, kExpertTrees> sources_;
  std::vector<std::unique_ptr<State>> states_;                       // by slot
  std::vector<std::unique_ptr<SuffixTree>> dissolving_;              // ended sequences' own trees
  std::map<LibraryKey, std::unique_ptr<Library>> libraries_;         // corpora by name
  std::deque<Feed> feeds_;                                           // texts that wait to be entered
  std::size_t rests_ = 0;                                            // tokens of ended sequences among them
  std::deque<std::pair<Tenant*, SuffixTree::SequenceId>> discards_;  // that wait to be taken out
  std::deque<Tenant*> ages_;  // whose outputs ended, one entry each, oldest first
  bool evicting_ = false;     // the first of them is partly out
  // The copy that begin_capture() asked for: complete up to output `captured_` of tenant `capturing_tenant_`.
  bool capturing_ = false;
  std::string capturing_tenant_;
  std::size_t captured_ = 0;
  SpeculationSnapshot capture_;
  DraftModel model_;
  BlendedDraft blended_;
  PublishedDraft published_;
  std::size_t bytes_ = 0;
};

}  // namespace coppice::engine
