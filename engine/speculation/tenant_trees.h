// TenantTrees: one suffix tree for each tenant, one more for corpora that are everyone's, and how much memory they may
// take. Finished outputs are evicted oldest first, over all tenants, a part at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/speculation/suffix_tree.h"

namespace coppice::engine {

// A tenant's tree and what stands in it. Nothing of it shows in what another tenant is offered, not even by timing.
struct Tenant {
  Tenant(std::string tenant, std::int32_t depth) : name(std::move(tenant)), tree(depth) {}
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
  // `depth`: of every tree. `shared`: one tree for all tenants.
  TenantTrees(std::int32_t depth, std::size_t bytes_max, bool shared)
      : depth_(depth), bytes_max_(bytes_max), is_shared_(shared) {}

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
  // Keeps a finished output as the newest of all.
  void keep(Tenant& tenant, SuffixTree::SequenceId sequence);
  // Evicts in proportion to what came in, while the trees are too large.
  void make_room_for_tokens(std::size_t tokens);
  void make_room_for_end();
  bool is_full() const { return bytes_ > bytes_max_; }

  std::size_t bytes() const { return bytes_; }
  std::size_t tokens() const;
  std::size_t size() const { return tenants_.size(); }

 private:
  void evict(std::size_t suffixes_max);

  const std::int32_t depth_;
  const std::size_t bytes_max_;
  const bool is_shared_;
  std::map<std::string, std::unique_ptr<Tenant>, std::less<>> tenants_;
  std::unique_ptr<Tenant> everyone_;
  std::deque<Tenant*> ages_;  // one entry for each finished output, oldest first
  bool is_evicting_ = false;  // the first of them is partly out
  std::size_t bytes_ = 0;
};

}  // namespace coppice::engine
