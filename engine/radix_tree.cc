// The prefix cache's operations: matching, extending, locking, evicting.
#include "engine/radix_tree.h"

#include "base/check.h"

namespace coppice::engine {

void RadixLock::release() {
  if (tree_ != nullptr) {
    tree_->unlock(node_);
    tree_ = nullptr;
  }
}

RadixTree::RadixTree(KvPool& pool) : pool_(pool), nodes_(pool), leaves_(nodes_, pool.pages()) {}

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
        leaves_.remove(node);
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
          leaves_.push(node);
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
    // A leaf that only this lock holds grows in place; elsewhere other paths end or go on, so a child begins.
    const bool grows = nodes_[node].lock_count == 1 && nodes_[node].child_count == 0 && !nodes_[node].is_root();
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

// Takes the last page off an unlocked leaf. An empty leaf goes, and its parent may become one.
void RadixTree::drop_last_page(RadixNodeId leaf) {
  const bool is_last = nodes_[leaf].page_count == 1;
  const RadixNodeId parent = nodes_[leaf].parent;
  if (is_last) {
    leaves_.remove(leaf);
    nodes_.unlink_child(leaf);
  }
  nodes_.drop_last_page(leaf);
  --pages_;
  --evictable_pages_;
  if (!is_last) {
    return;
  }
  nodes_.free(leaf);
  RadixNode& above = nodes_[parent];
  if (--above.child_count == 0 && above.lock_count == 0) {
    if (above.is_root()) {
      drop_root(parent);
    } else {
      leaves_.push(parent);
    }
  }
}

std::int32_t RadixTree::evict(std::int32_t pages) {
  std::int32_t freed = 0;
  for (; freed < pages && !leaves_.empty(); ++freed) {
    drop_last_page(leaves_.front());
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
    leaves_.check_position(index);
  }
  if (!node.is_root()) {
    const RadixNode& above = nodes_[node.parent];
    COPPICE_CHECK(nodes_.find_child(node.parent, nodes_.tokens_of(node.first_page).data()) == index,
                  "a child is found by its page");
    COPPICE_CHECK(above.live && above.lock_count >= node.lock_count, "a lock covers its whole path");
    COPPICE_CHECK(above.last_use >= node.last_use || above.lock_count > 0, "a path is as recent as what hangs on it");
  }
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
}

}  // namespace coppice::engine
