// The prefix cache: its nodes, its unlocked leaves, and what is done with them: matching, extending, locking, evicting.
#include "engine/radix_tree.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace coppice::engine {
namespace {

// Entries beyond those that the number of pages bounds: a pool of a few pages needs room for tenants' roots too.
constexpr std::size_t kSpareEntries = 16;

}  // namespace

// --- nodes -----------------------------------------------------------------------------------------------------------

RadixNodes::RadixNodes(KvPool& pool)
    : pool_(pool),
      page_size_(static_cast<std::size_t>(pool.page_size())),
      page_tokens_(static_cast<std::size_t>(pool.pages()) * page_size_),
      next_(static_cast<std::size_t>(pool.pages()), kNoPage),
      previous_(static_cast<std::size_t>(pool.pages()), kNoPage),
      references_(static_cast<std::size_t>(pool.pages())),
      buckets_(std::bit_ceil(2 * static_cast<std::size_t>(pool.pages()) + kSpareEntries), kNoRadixNode) {
  // Nodes with pages: at most one a page. Roots with children: as many at worst.
  nodes_.reserve(2 * static_cast<std::size_t>(pool.pages()) + kSpareEntries);
}

bool RadixNodes::same_tokens(PageId page, const TokenId* tokens) const {
  return std::memcmp(tokens_of(page).data(), tokens, page_size_ * sizeof(TokenId)) == 0;
}

std::size_t RadixNodes::bucket_of(RadixNodeId parent, const TokenId* tokens) const {
  return XXH3_64bits_withSeed(tokens, page_size_ * sizeof(TokenId), parent) & (buckets_.size() - 1);
}

RadixNodeId RadixNodes::find_child(RadixNodeId parent, const TokenId* tokens) const {
  for (RadixNodeId node = buckets_[bucket_of(parent, tokens)]; node != kNoRadixNode; node = nodes_[node].bucket_next) {
    if (nodes_[node].parent == parent && same_tokens(nodes_[node].first_page, tokens)) {
      return node;
    }
  }
  return kNoRadixNode;
}

void RadixNodes::link_child(RadixNodeId node) {
  RadixNode& child = nodes_[node];
  RadixNodeId& head = buckets_[bucket_of(child.parent, tokens_of(child.first_page).data())];
  child.bucket_next = head;
  head = node;
}

void RadixNodes::unlink_child(RadixNodeId node) {
  RadixNode& child = nodes_[node];
  RadixNodeId* link = &buckets_[bucket_of(child.parent, tokens_of(child.first_page).data())];
  while (*link != node) {
    COPPICE_CHECK(*link != kNoRadixNode, "a node is in the chain of its parent and first page");
    link = &nodes_[*link].bucket_next;
  }
  *link = child.bucket_next;
  child.bucket_next = kNoRadixNode;
}

RadixNodeId RadixNodes::add() {
  RadixNodeId node = free_node_;
  if (node == kNoRadixNode) {
    node = count();
    nodes_.emplace_back();
  } else {
    free_node_ = nodes_[node].bucket_next;
    nodes_[node] = RadixNode();
  }
  nodes_[node].live = true;
  return node;
}

void RadixNodes::free(RadixNodeId node) {
  nodes_[node] = RadixNode();
  nodes_[node].bucket_next = free_node_;
  free_node_ = node;
}

void RadixNodes::split(RadixNodeId node, std::int32_t page_count) {
  COPPICE_CHECK(page_count > 0 && page_count < nodes_[node].page_count, "a split leaves pages on both sides");
  unlink_child(node);
  const RadixNodeId upper = add();
  RadixNode& deep = nodes_[node];
  RadixNode& top = nodes_[upper];
  top.parent = deep.parent;
  top.first_page = deep.first_page;
  top.page_count = page_count;
  top.child_count = 1;
  top.lock_count = deep.lock_count;
  top.last_use = deep.last_use;
  top.hits = deep.hits;
  PageId last = deep.first_page;
  for (std::int32_t i = 1; i < page_count; ++i) {
    last = next(last);
  }
  top.last_page = last;
  deep.first_page = std::exchange(next_[static_cast<std::size_t>(last)], kNoPage);
  previous_[static_cast<std::size_t>(deep.first_page)] = kNoPage;
  deep.page_count -= page_count;
  deep.parent = upper;
  link_child(upper);
  link_child(node);
}

void RadixNodes::append_page(RadixNodeId node, PageId page, const TokenId* tokens) {
  const auto index = static_cast<std::size_t>(page);
  COPPICE_CHECK(!references_[index].held(), "a page stands in the tree once");
  std::copy(tokens, tokens + page_size_, page_tokens_.begin() + static_cast<std::ptrdiff_t>(index * page_size_));
  references_[index] = pool_.share(page);
  RadixNode& end = nodes_[node];
  previous_[index] = end.last_page;
  next_[index] = kNoPage;
  if (end.last_page == kNoPage) {
    end.first_page = page;
  } else {
    next_[static_cast<std::size_t>(end.last_page)] = page;
  }
  end.last_page = page;
  ++end.page_count;
}

void RadixNodes::drop_last_page(RadixNodeId node) {
  RadixNode& end = nodes_[node];
  const PageId page = end.last_page;
  end.last_page = previous_[static_cast<std::size_t>(page)];
  if (end.last_page == kNoPage) {
    end.first_page = kNoPage;
  } else {
    next_[static_cast<std::size_t>(end.last_page)] = kNoPage;
  }
  --end.page_count;
  references_[static_cast<std::size_t>(page)].reset();
}

void RadixNodes::check_edge(RadixNodeId node) const {
  const RadixNode& end = nodes_[node];
  std::int32_t count = 0;
  PageId last = kNoPage;
  for (PageId page = end.first_page; page != kNoPage; page = next(page)) {
    COPPICE_CHECK(references_[static_cast<std::size_t>(page)].id() == page, "the tree holds each of its pages");
    COPPICE_CHECK(previous_[static_cast<std::size_t>(page)] == last, "an edge reads the same backwards");
    COPPICE_CHECK(end.lock_count > 0 || pool_.references(page) == 1, "an unlocked page is the tree's alone");
    last = page;
    ++count;
  }
  COPPICE_CHECK(count == end.page_count && last == end.last_page, "an edge has the pages it says");
}

template <typename Visit>
RadixPlace RadixNodes::descend(RadixNodeId node, std::span<const TokenId> tokens, Visit visit) const {
  RadixPlace place{node, nodes_[node].page_count};
  const std::size_t whole = tokens.size() / page_size_;
  std::size_t index = 0;
  while (index < whole) {
    const RadixNodeId child = find_child(place.node, tokens.data() + index * page_size_);
    if (child == kNoRadixNode) {
      return place;
    }
    place = {child, 0};
    for (PageId page = nodes_[child].first_page; page != kNoPage; page = next(page)) {
      if (index == whole || !same_tokens(page, tokens.data() + index * page_size_)) {
        return place;
      }
      visit(page);
      ++place.page_count;
      ++index;
    }
  }
  return place;
}

// --- unlocked leaves -------------------------------------------------------------------------------------------------

void RadixLeaves::push(RadixNodeId node) {
  nodes_[node].heap_position = static_cast<std::uint32_t>(heap_.size());
  heap_.push_back(node);
  settle(heap_.size() - 1);
}

void RadixLeaves::remove(RadixNodeId node) {
  const std::size_t position = nodes_[node].heap_position;
  nodes_[node].heap_position = kNoRadixNode;
  const RadixNodeId moved = heap_.back();
  heap_.pop_back();
  if (moved != node) {
    heap_[position] = moved;
    nodes_[moved].heap_position = static_cast<std::uint32_t>(position);
    settle(position);
  }
}

// Moves the entry at `position` up or down to where the order holds.
void RadixLeaves::settle(std::size_t position) {
  const auto swap_with = [this, &position](std::size_t other) {
    std::swap(heap_[position], heap_[other]);
    nodes_[heap_[position]].heap_position = static_cast<std::uint32_t>(position);
    nodes_[heap_[other]].heap_position = static_cast<std::uint32_t>(other);
    position = other;
  };
  while (position > 0 && older(heap_[position], heap_[(position - 1) / 2])) {
    swap_with((position - 1) / 2);
  }
  for (std::size_t child = 2 * position + 1; child < heap_.size(); child = 2 * position + 1) {
    if (child + 1 < heap_.size() && older(heap_[child + 1], heap_[child])) {
      ++child;
    }
    if (!older(heap_[child], heap_[position])) {
      break;
    }
    swap_with(child);
  }
}

void RadixLeaves::check_position(RadixNodeId node) const {
  const std::size_t position = nodes_[node].heap_position;
  COPPICE_CHECK(position < heap_.size() && heap_[position] == node, "a leaf knows its position in the heap");
  const std::size_t up = position == 0 ? 0 : (position - 1) / 2;
  COPPICE_CHECK(!older(node, heap_[up]), "the heap is in order");
}

// --- the tree --------------------------------------------------------------------------------------------------------

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
  for (RadixNodeId found = node; !nodes_[found].is_root(); found = nodes_[found].parent) {
    ++nodes_[found].hits;
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
