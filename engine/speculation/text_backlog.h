// TextBacklog: texts that are entered into the tenants' trees, or removed from them, piece by piece when there is time:
// corpora, outputs of an earlier run, and the last outputs of sequences that ended.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/speculation/corpus.h"
#include "engine/speculation/snapshot_file.h"
#include "engine/speculation/tenant_trees.h"

namespace coppice::engine {

// Owner and thread: one, the same.
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

}  // namespace coppice::engine
