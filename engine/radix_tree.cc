// The prefix cache: matching, extending, locking, keeping, evicting.
#include "engine/radix_tree.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/cache_journal.h"

namespace coppice::engine {

// --- the tree --------------------------------------------------------------------------------------------------------

void RadixLock::release() {
  if (tree_ != nullptr) {
    tree_->unlock(node_);
    tree_ = nullptr;
  }
}

RadixTree::RadixTree(KvPool& pool, const KeepLimits& keep_limits, CacheJournal* journal)
    : pool_(pool),
      keep_limits_(keep_limits),
      journal_(journal),
      nodes_(pool),
      leaves_(nodes_, pool.pages()),
      kept_leaves_(nodes_, pool.pages()) {}

RadixTree::~RadixTree() {
  for (RadixNodeId node = 0; node < nodes_.count(); ++node) {
    COPPICE_CHECK(nodes_[node].lock_count == 0, "every lock is released before its tree goes");
  }
}

// --- roots -----------------------------------------------------------------------------------------------------------

RadixNodeId RadixTree::root_of(std::string_view tenant) {
  if (const auto found = roots_.find(tenant); found != roots_.end()) {
    return found->second;
  }
  const RadixNodeId root = nodes_.add();
  const auto inserted = roots_.emplace(std::string(tenant), root).first;
  root_names_.emplace(root, inserted->first);
  return root;
}

void RadixTree::drop_root(RadixNodeId root) {
  const auto name = root_names_.find(root);
  COPPICE_CHECK(name != root_names_.end(), "a root has a tenant");
  roots_.erase(roots_.find(name->second));
  root_names_.erase(name);
  nodes_.free(root);
}

// --- locks -----------------------------------------------------------------------------------------------------------

// Counts one lock on every node from `from` up to, but without, `above` (kNoRadixNode: up to and with the root).
void RadixTree::lock_path(RadixNodeId from, RadixNodeId above) {
  for (RadixNodeId node = from; node != above; node = nodes_[node].parent) {
    RadixNode& locked = nodes_[node];
    if (locked.lock_count++ == 0) {
      evictable_pages_ -= locked.page_count;
      if (locked.heap_position != kNoRadixNode) {
        heap_of(node).remove(node);
      }
    }
  }
}

void RadixTree::unlock(RadixNodeId node) {
  ++clock_;
  while (node != kNoRadixNode) {
    RadixNode& locked = nodes_[node];
    const RadixNodeId parent = locked.parent;
    locked.last_use = clock_;
    COPPICE_CHECK(locked.lock_count > 0, "a lock is released once");
    if (--locked.lock_count == 0) {
      evictable_pages_ += locked.page_count;
      if (locked.child_count == 0) {
        if (parent == kNoRadixNode) {
          drop_root(node);
        } else {
          heap_of(node).push(node);
        }
      }
    }
    node = parent;
  }
}

// --- the engine's operations -----------------------------------------------------------------------------------------

std::int32_t RadixTree::peek(std::string_view tenant, std::span<const TokenId> tokens) const {
  const auto root = roots_.find(tenant);
  if (root == roots_.end()) {
    return 0;
  }
  std::int32_t found = 0;
  nodes_.descend(root->second, tokens, [&found](PageId) { ++found; });
  return found * nodes_.page_size();
}

// The node that ends at the place: splits an edge that goes on.
RadixNodeId RadixTree::node_at(RadixPlace place) {
  if (place.page_count == nodes_[place.node].page_count) {
    return place.node;
  }
  nodes_.split(place.node, place.page_count);
  return nodes_[place.node].parent;
}

RadixLock RadixTree::match(std::string_view tenant, std::span<const TokenId> tokens, PageTable& table) {
  COPPICE_CHECK(table.empty(), "match fills an empty table");
  const RadixPlace place =
      nodes_.descend(root_of(tenant), tokens, [&](PageId page) { table.append(pool_.share(page)); });
  const RadixNodeId node = node_at(place);
  lock_path(node, kNoRadixNode);
  for (RadixNodeId used = node; !nodes_[used].is_root(); used = nodes_[used].parent) {
    ++nodes_[used].hits;
    if (!kept_.empty()) {
      kept_.renew(used, now_);
    }
  }
  return {this, node, table.size() * nodes_.page_size()};
}

std::int32_t RadixTree::extend(RadixLock& lock, std::span<const TokenId> tokens, PageTable& table) {
  const auto page_size = static_cast<std::size_t>(nodes_.page_size());
  COPPICE_CHECK(lock.tree_ == this && tokens.size() % page_size == 0, "whole pages on a path of this tree");
  COPPICE_CHECK(static_cast<std::int32_t>(tokens.size()) >= lock.token_count_, "a path grows");
  std::int32_t index = lock.token_count_ / nodes_.page_size();
  const auto end = static_cast<std::int32_t>(tokens.size() / page_size);
  if (index == end) {
    return 0;
  }
  COPPICE_CHECK(table.size() >= end, "the table covers the tokens");
  std::int32_t replaced = 0;
  const auto added = tokens.subspan(static_cast<std::size_t>(lock.token_count_));
  const RadixPlace place = nodes_.descend(lock.node_, added, [&](PageId page) {
    if (table[index] != page) {
      table.replace(index, pool_.share(page));
      ++replaced;
    }
    ++index;
  });
  RadixNodeId node = node_at(place);
  lock_path(node, lock.node_);
  if (index < end) {
    // A leaf that only this lock holds grows in place; elsewhere other paths, or a kept prefix, end or go on, so a
    // child begins.
    const RadixNode& end_node = nodes_[node];
    if (journal_ != nullptr) {
      const auto first = static_cast<std::size_t>(index);
      journal_->store(tenant_of(nodes_.root_above(node)), end_node.last_page,
                      table.ids().subspan(first, static_cast<std::size_t>(end) - first),
                      tokens.subspan(first * page_size));
    }
    const bool grows =
        end_node.lock_count == 1 && end_node.child_count == 0 && end_node.keep_count == 0 && !end_node.is_root();
    if (!grows) {
      ++nodes_[node].child_count;
      const RadixNodeId child = nodes_.add();
      nodes_[child].parent = node;
      nodes_[child].lock_count = 1;
      node = child;
    }
    pages_ += end - index;
    for (; index < end; ++index) {
      nodes_.append_page(node, table[index], tokens.data() + static_cast<std::size_t>(index) * page_size);
    }
    if (!grows) {
      nodes_.link_child(node);
    }
  }
  lock.node_ = node;
  lock.token_count_ = static_cast<std::int32_t>(tokens.size());
  return replaced;
}

// --- kept prefixes ---------------------------------------------------------------------------------------------------

// Where the path that ends at `node` is `pages` pages shorter.
RadixPlace RadixTree::place_above(RadixNodeId node, std::int32_t pages) const {
  while (pages >= nodes_[node].page_count && !nodes_[node].is_root()) {
    pages -= nodes_[node].page_count;
    node = nodes_[node].parent;
  }
  return {node, nodes_[node].page_count - pages};
}

// Counts one kept prefix more, or fewer, on every node from `from` up to, but without, `above`. It ends at `end`, or
// did.
void RadixTree::count_keep(RadixNodeId from, RadixNodeId above, std::int32_t more, RadixNodeId end) {
  for (RadixNodeId index = from; index != above; index = nodes_[index].parent) {
    RadixNode& node = nodes_[index];
    const bool turns = (node.keep_count > 0) != (node.keep_count + more > 0);
    const bool is_leaf = node.heap_position != kNoRadixNode;
    if (turns && is_leaf) {
      heap_of(index).remove(index);
    }
    node.keep_count += more;
    if (turns) {
      kept_.count_pages(end, more * node.page_count);
    }
    if (turns && is_leaf) {
      heap_of(index).push(index);
    }
  }
}

void RadixTree::forget_kept(RadixNodeId end) {
  count_keep(end, kNoRadixNode, -1, end);
  kept_.erase(end);
}

// The last `pages` pages that no other prefix keeps are kept no longer; with fewer of them, none of it is.
void RadixTree::shorten_kept(RadixNodeId end, std::int32_t pages) {
  std::int32_t own = 0;
  for (RadixNodeId node = end; nodes_[node].keep_count == 1 && !nodes_[node].is_root(); node = nodes_[node].parent) {
    own += nodes_[node].page_count;
  }
  if (own <= pages) {
    forget_kept(end);
    return;
  }
  const RadixNodeId shorter = node_at(place_above(end, pages));
  count_keep(end, shorter, -1, end);
  COPPICE_CHECK(!kept_.move(end, shorter), "no other prefix is kept there");
}

void RadixTree::limit_kept(const std::string& account, std::int32_t pages_max) {
  while (kept_.pages_of(account) > pages_max) {
    shorten_kept(kept_.least_recently_used(account), kept_.pages_of(account) - pages_max);
  }
}

void RadixTree::keep(const RadixLock& lock, std::int32_t pages, std::string_view account, KeptPrefixes::Duration time) {
  const std::int32_t path_pages = lock.token_count_ / nodes_.page_size();
  COPPICE_CHECK(lock.tree_ == this && pages > 0 && pages <= path_pages, "the path has the pages to be kept");
  if (keep_limits_.account_pages == 0) {
    return;
  }
  const RadixNodeId end = node_at(place_above(lock.node_, path_pages - pages));
  if (kept_.keep(end, account, time, now_)) {
    count_keep(end, kNoRadixNode, 1, end);
  }
  limit_kept(std::string(account), keep_limits_.account_pages);
  while (kept_.pages() > keep_limits_.pages) {
    const std::string largest = kept_.largest_account();
    limit_kept(largest, kept_.fair_share(keep_limits_.pages));
  }
}

void RadixTree::set_time(KeptPrefixes::TimePoint now) {
  now_ = now;
  while (kept_.ended(now) != kNoRadixNode) {
    forget_kept(kept_.ended(now));
  }
}

// A kept leaf has lost its last page: what was kept ends above it, if anything is left.
void RadixTree::raise_kept(RadixNodeId leaf) {
  const RadixNodeId parent = nodes_[leaf].parent;
  if (nodes_[parent].is_root()) {
    forget_kept(leaf);
  } else if (kept_.move(leaf, parent)) {
    count_keep(parent, kNoRadixNode, -1, parent);
  }
}

// --- evicting --------------------------------------------------------------------------------------------------------

// Takes the last page off an unlocked leaf. An empty leaf goes, and its parent may become one.
void RadixTree::drop_last_page(RadixNodeId leaf) {
  const bool is_last = nodes_[leaf].page_count == 1;
  const RadixNodeId parent = nodes_[leaf].parent;
  if (is_last) {
    heap_of(leaf).remove(leaf);
    nodes_.unlink_child(leaf);
  }
  if (nodes_[leaf].keep_count > 0) {
    kept_.count_pages(leaf, -1);
  }
  if (journal_ != nullptr) {
    journal_->remove(tenant_of(nodes_.root_above(parent)), nodes_[leaf].last_page);
  }
  nodes_.drop_last_page(leaf);
  --pages_;
  --evictable_pages_;
  if (!is_last) {
    return;
  }
  if (nodes_[leaf].keep_count > 0) {
    raise_kept(leaf);
  }
  nodes_.free(leaf);
  RadixNode& above = nodes_[parent];
  if (--above.child_count == 0 && above.lock_count == 0) {
    if (above.is_root()) {
      drop_root(parent);
    } else {
      heap_of(parent).push(parent);
    }
  }
}

std::int32_t RadixTree::evict(std::int32_t pages) {
  std::int32_t freed = 0;
  for (; freed < pages && !(leaves_.empty() && kept_leaves_.empty()); ++freed) {
    drop_last_page(leaves_.empty() ? kept_leaves_.front() : leaves_.front());
  }
  return freed;
}

// --- integrity -------------------------------------------------------------------------------------------------------

void RadixTree::append_pages(std::vector<PageId>& pages) const {
  for (RadixNodeId node = 0; node < nodes_.count(); ++node) {
    if (nodes_[node].live) {
      for (PageId page = nodes_[node].first_page; page != kNoPage; page = nodes_.next(page)) {
        pages.push_back(page);
      }
    }
  }
}

void RadixTree::check_node(RadixNodeId index) const {
  const RadixNode& node = nodes_[index];
  COPPICE_CHECK(node.is_root() == (root_names_.count(index) == 1), "exactly the roots have tenants");
  COPPICE_CHECK(node.is_root() == (node.page_count == 0), "exactly the roots have no pages");
  COPPICE_CHECK(!node.is_root() || node.child_count > 0 || node.lock_count > 0, "an unused root goes");
  nodes_.check_edge(index);
  const bool evictable = !node.is_root() && node.lock_count == 0 && node.child_count == 0;
  COPPICE_CHECK(evictable == (node.heap_position != kNoRadixNode), "the heap holds exactly the unlocked leaves");
  if (evictable) {
    (node.keep_count > 0 ? kept_leaves_ : leaves_).check_position(index);
  }
  if (!node.is_root()) {
    const RadixNode& above = nodes_[node.parent];
    COPPICE_CHECK(nodes_.find_child(node.parent, nodes_.tokens_of(node.first_page).data()) == index,
                  "a child is found by its page");
    COPPICE_CHECK(above.live && above.lock_count >= node.lock_count, "a lock covers its whole path");
    COPPICE_CHECK(above.last_use >= node.last_use || above.lock_count > 0, "a path is as recent as what hangs on it");
  }
}

// Every node counts the kept prefixes that end at it or go through it.
void RadixTree::check_kept() const {
  kept_.check_integrity();
  std::vector<std::int32_t> going_through(nodes_.count(), 0);
  std::int32_t pages = 0;
  for (RadixNodeId index = 0; index < nodes_.count(); ++index) {
    const RadixNode& node = nodes_[index];
    pages += node.live && node.keep_count > 0 ? node.page_count : 0;
    if (node.live && !node.is_root()) {
      going_through[node.parent] += node.keep_count;
    }
  }
  for (RadixNodeId index = 0; index < nodes_.count(); ++index) {
    COPPICE_CHECK(nodes_[index].keep_count == going_through[index] + (kept_.ends_at(index) ? 1 : 0),
                  "a node counts its kept prefixes");
  }
  COPPICE_CHECK(pages == kept_.pages() && pages <= keep_limits_.pages, "kept pages add up and stay within their limit");
}

void RadixTree::check_integrity() const {
  std::int32_t pages = 0;
  std::int32_t evictable = 0;
  std::int32_t children = 0;
  std::int32_t non_roots = 0;
  for (RadixNodeId index = 0; index < nodes_.count(); ++index) {
    const RadixNode& node = nodes_[index];
    if (!node.live) {
      continue;
    }
    check_node(index);
    pages += node.page_count;
    evictable += node.lock_count == 0 ? node.page_count : 0;
    children += node.child_count;
    non_roots += node.is_root() ? 0 : 1;
  }
  COPPICE_CHECK(pages == pages_ && evictable == evictable_pages_, "page counts add up");
  COPPICE_CHECK(children == non_roots, "every node except the roots is a child of one node");
  COPPICE_CHECK(roots_.size() == root_names_.size(), "tenants and roots are one to one");
  check_kept();
}

}  // namespace coppice::engine
