// TenantTrees: one suffix tree for each tenant, one more for corpora that are everyone's, and how much memory they may
// take. Finished outputs are evicted oldest first, over all tenants, a part at a time. Other texts go in, and copies
// come out, piece by piece when there is time: TextBacklog, OutputCapture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/speculation/corpus.h"
#include "engine/speculation/snapshot_file.h"
#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

// A tenant's tree and what stands in it. Nothing of it shows in what another tenant is offered, not even by timing.
struct Tenant {
  Tenant(std::string tenant, std::int32_t depth, std::uint32_t sequences_max)
      : name(std::move(tenant)), tree(depth, sequences_max) {}
  const std::string name;
  SuffixTree tree;
  std::deque<SuffixTree::SequenceId> finished;  // outputs, oldest first
  std::size_t users = 0;                        // growing sequences, and texts that wait to be entered or removed
  std::size_t corpus_texts = 0;                 // in the tree
  std::size_t bytes = 0;                        // of the tree, when it was last accounted
  std::uint64_t version = 1;                    // changes when a waiting text is entered or removed
};

// Owner and thread: one, the same.
class TenantTrees {
 public:
  // `depth`, `sequences_max`: of every tree. `shared`: one tree for all tenants.
  TenantTrees(std::int32_t depth, std::uint32_t sequences_max, std::size_t bytes_max, bool shared)
      : depth_(depth), sequences_max_(sequences_max), bytes_max_(bytes_max), is_shared_(shared) {}

  // A tenant by name, made if there is none. Stays where it is while it has users.
  Tenant& tenant(std::string_view name);
  // Corpora for all tenants: every tenant's sequences are matched with them, none is entered. Made if there is none.
  Tenant& everyone();
  // As everyone(), or null if it was never made.
  Tenant* everyone_or_null() const { return everyone_.get(); }
  // The first tenant whose name is not before `name`, or null.
  const Tenant* first_from(std::string_view name) const;

  // Counts a tree's memory anew. To be called when the tree has changed.
  void account(Tenant& tenant);
  // Keeps a finished output as the newest of all, unless it is empty.
  void keep(Tenant& tenant, SuffixTree::SequenceId sequence);
  // Forgets the tenant if nothing of it is left. To be called when it has lost a user or a text.
  void forget_if_empty(const Tenant& tenant);
  // Evicts in proportion to what came in, while the trees are too large.
  void make_room_for_tokens(std::size_t tokens);
  void make_room_for_end();
  // Half of a tree's sequences may be finished outputs, over all tenants: the rest is for those that grow, for corpora
  // and for texts that outlive their sequence.
  bool is_full() const { return bytes_ > bytes_max_ || ages_.size() > sequences_max_ / 2; }

  std::size_t bytes() const { return bytes_; }
  std::size_t tokens() const;
  std::size_t size() const { return tenants_.size(); }

 private:
  void evict(std::size_t suffixes_max);

  const std::int32_t depth_;
  const std::uint32_t sequences_max_;
  const std::size_t bytes_max_;
  const bool is_shared_;
  std::map<std::string, std::unique_ptr<Tenant>, std::less<>> tenants_;
  std::unique_ptr<Tenant> everyone_;
  std::deque<Tenant*> ages_;  // one entry for each finished output, oldest first
  bool is_evicting_ = false;  // the first of them is partly out
  std::size_t bytes_ = 0;
};

// Texts that are entered into the trees, or removed from them, piece by piece when there is time: corpora, outputs of
// an earlier run, and the last outputs of sequences that ended. Owner and thread: one, the same.
class TextBacklog {
 public:
  explicit TextBacklog(TenantTrees& trees) : trees_(trees) {}

  // Adds sequences to a corpus. Quick: work() enters them.
  void learn(Corpus&& corpus);
  // Drops a corpus: texts that wait go at once, work() removes the others.
  void forget(const Corpus& corpus);
  // Adds a finished output of an earlier run.
  void restore(Tenant& tenant, const SharedText& text);

  // Whether remaining tokens of an ended sequence are still accepted. They are not while the trees are too large: a
  // sequence with remaining tokens cannot be evicted.
  bool has_room_for_remaining(std::size_t tokens) const;
  // Takes over a growing sequence of a tenant's tree and its user: the tokens are entered, then the sequence is
  // finished. REQUIRES: has_room_for_remaining().
  void add_remaining(Tenant& tenant, SuffixTree::SequenceId sequence, std::vector<TokenId>&& tokens);

  // Enters and removes at most `tokens_max` tokens, removal first.
  void work(std::size_t tokens_max);
  bool is_empty() const { return entries_.empty() && removals_.empty(); }
  bool has_remaining() const { return remaining_ > 0; }

 private:
  using TreeText = std::pair<Tenant*, SuffixTree::SequenceId>;
  // A corpus as it stands in the trees.
  struct Library {
    std::vector<TreeText> texts;
    std::vector<Receipt> receipts;  // of the calls that brought them
  };
  // A text that waits to be entered, or is partly entered.
  struct Entry {
    Tenant* tenant = nullptr;
    Library* library = nullptr;  // null: an output
    SharedText text;
    SuffixTree::SequenceId sequence = 0;  // once is_begun
    std::size_t done = 0;                 // tokens entered
    bool is_begun = false;
    bool is_remaining = false;  // added by add_remaining()
  };
  using LibraryKey = std::pair<std::string, std::string>;  // owner, name

  static LibraryKey key_of(const Corpus& corpus);
  void add(Tenant& tenant, Library* library, const SharedText& text);
  std::size_t remove_some(std::size_t tokens_max);
  void enter_some(std::size_t tokens_max);
  void finish(const Entry& entry);

  TenantTrees& trees_;
  std::map<LibraryKey, std::unique_ptr<Library>> libraries_;
  std::deque<Entry> entries_;
  std::deque<TreeText> removals_;
  std::size_t remaining_ = 0;  // tokens of entries that are remaining
};

// A copy of all tenants' finished outputs, made a few texts at a time between steps. Texts are shared, not copied.
// Outputs evicted while the copy is made may be missing in it. Owner and thread: one, the same.
class OutputCapture {
 public:
  // Starts a copy; one that was under way is dropped.
  void begin();
  // Adds some more texts to it.
  void work(const TenantTrees& trees);
  bool is_under_way() const { return is_under_way_; }
  // The finished copy, empty if none was started. REQUIRES: !is_under_way().
  SpeculationSnapshot take();

 private:
  bool is_under_way_ = false;
  std::string tenant_;  // the copy is complete up to this tenant's output `done_`
  std::size_t done_ = 0;
  SpeculationSnapshot snapshot_;
};

}  // namespace coppice::engine
