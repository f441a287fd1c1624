// The prefix cache's tree: walking, splitting, extending, locking, evicting.
#include "engine/radix_tree.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace coppice::engine {

void RadixLock::release() {
  if (tree_ != nullptr) {
    tree_->unlock(node_);
    tree_ = nullptr;
  }
}

RadixTree::RadixTree(KvPool& pool)
    : pool_(pool),
      page_size_(static_cast<std::size_t>(pool.page_size())),
      page_tokens_(static_cast<std::size_t>(pool.pages()) * page_size_),
      next_(static_cast<std::size_t>(pool.pages()), kNoPage),
      previous_(static_cast<std::size_t>(pool.pages()), kNoPage),
      references_(static_cast<std::size_t>(pool.pages())),
      buckets_(std::bit_ceil(2 * static_cast<std::size_t>(pool.pages()) + 16), kNone) {
  // Nodes with pages: at most one a page. Roots with children: as many at worst.
  nodes_.reserve(2 * static_cast<std::size_t>(pool.pages()) + 16);
  heap_.reserve(static_cast<std::size_t>(pool.pages()) + 1);
}

RadixTree::~RadixTree() {
  const bool locked = std::any_of(nodes_.begin(), nodes_.end(), [](const Node& node) { return node.lock_count > 0; });
  COPPICE_CHECK(!locked, "every lock is released before its tree goes");
}

std::span<const TokenId> RadixTree::tokens_of(PageId page) const {
  return {page_tokens_.data() + static_cast<std::size_t>(page) * page_size_, page_size_};
}

bool RadixTree::same_tokens(PageId page, const TokenId* tokens) const {
  return std::memcmp(tokens_of(page).data(), tokens, page_size_ * sizeof(TokenId)) == 0;
}

// --- the child table -------------------------------------------------------------------------------------------------

std::size_t RadixTree::bucket_of(std::uint32_t parent, const TokenId* tokens) const {
  return XXH3_64bits_withSeed(tokens, page_size_ * sizeof(TokenId), parent) & (buckets_.size() - 1);
}

std::uint32_t RadixTree::find_child(std::uint32_t parent, const TokenId* tokens) const {
  for (std::uint32_t node = buckets_[bucket_of(parent, tokens)]; node != kNone; node = at(node).bucket_next) {
    if (at(node).parent == parent && same_tokens(at(node).first_page, tokens)) {
      return node;
    }
  }
  return kNone;
}

void RadixTree::link_child(std::uint32_t node) {
  std::uint32_t& head = buckets_[bucket_of(at(node).parent, tokens_of(at(node).first_page).data())];
  at(node).bucket_next = head;
  head = node;
}

void RadixTree::unlink_child(std::uint32_t node) {
  std::uint32_t* link = &buckets_[bucket_of(at(node).parent, tokens_of(at(node).first_page).data())];
  while (*link != node) {
    COPPICE_CHECK(*link != kNone, "a node is in the chain of its parent and first page");
    link = &at(*link).bucket_next;
  }
  *link = at(node).bucket_next;
  at(node).bucket_next = kNone;
}

// --- nodes and roots -------------------------------------------------------------------------------------------------

std::uint32_t RadixTree::new_node() {
  std::uint32_t node = free_node_;
  if (node == kNone) {
    node = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    free_node_ = at(node).bucket_next;
    at(node) = Node();
  }
  at(node).live = true;
  return node;
}

void RadixTree::free_node(std::uint32_t node) {
  at(node) = Node();
  at(node).bucket_next = free_node_;
  free_node_ = node;
}

std::uint32_t RadixTree::root_of(std::string_view tenant) {
  if (const auto found = roots_.find(tenant); found != roots_.end()) {
    return found->second;
  }
  const std::uint32_t root = new_node();
  const auto inserted = roots_.emplace(std::string(tenant), root).first;
  root_names_.emplace(root, inserted->first);
  return root;
}

void RadixTree::drop_root(std::uint32_t root) {
  const auto name = root_names_.find(root);
  COPPICE_CHECK(name != root_names_.end(), "a root has a tenant");
  roots_.erase(roots_.find(name->second));
  root_names_.erase(name);
  free_node(root);
}

// --- walking ---------------------------------------------------------------------------------------------------------

// Follows whole pages of `tokens` down from the end of `node`, calling visit(page) for each; stops where the tree ends
// or differs.
template <typename Visit>
RadixTree::Place RadixTree::descend(std::uint32_t node, std::span<const TokenId> tokens, Visit visit) const {
  Place place{node, at(node).page_count};
  const std::size_t whole = tokens.size() / page_size_;
  std::size_t index = 0;
  while (index < whole) {
    const std::uint32_t child = find_child(place.node, tokens.data() + index * page_size_);
    if (child == kNone) {
      return place;
    }
    place = {child, 0};
    for (PageId page = at(child).first_page; page != kNoPage; page = next_[static_cast<std::size_t>(page)]) {
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

// Cuts an edge after `page_count` pages. The node keeps its index for the deeper half, so locks on it stay true; a new
// node takes the upper half and every lock that goes through it.
void RadixTree::split(std::uint32_t node, std::int32_t page_count) {
  COPPICE_CHECK(page_count > 0 && page_count < at(node).page_count, "a split leaves pages on both sides");
  unlink_child(node);
  const std::uint32_t upper = new_node();
  Node& deep = at(node);
  Node& top = at(upper);
  top.parent = deep.parent;
  top.first_page = deep.first_page;
  top.page_count = page_count;
  top.child_count = 1;
  top.lock_count = deep.lock_count;
  top.last_use = deep.last_use;
  PageId last = deep.first_page;
  for (std::int32_t i = 1; i < page_count; ++i) {
    last = next_[static_cast<std::size_t>(last)];
  }
  top.last_page = last;
  deep.first_page = std::exchange(next_[static_cast<std::size_t>(last)], kNoPage);
  previous_[static_cast<std::size_t>(deep.first_page)] = kNoPage;
  deep.page_count -= page_count;
  deep.parent = upper;
  link_child(upper);
  link_child(node);
}

void RadixTree::append_page(std::uint32_t node, PageId page, const TokenId* tokens) {
  const auto index = static_cast<std::size_t>(page);
  COPPICE_CHECK(!references_[index].held(), "a page stands in the tree once");
  std::copy(tokens, tokens + page_size_, page_tokens_.begin() + static_cast<std::ptrdiff_t>(index * page_size_));
  references_[index] = pool_.share(page);
  Node& end = at(node);
  previous_[index] = end.last_page;
  next_[index] = kNoPage;
  if (end.last_page == kNoPage) {
    end.first_page = page;
  } else {
    next_[static_cast<std::size_t>(end.last_page)] = page;
  }
  end.last_page = page;
  ++end.page_count;
  ++pages_;
}

// --- locks -----------------------------------------------------------------------------------------------------------

// Counts one lock on every node from `from` up to, but without, `above` (kNone: up to and with the root).
void RadixTree::lock_path(std::uint32_t from, std::uint32_t above) {
  for (std::uint32_t node = from; node != above; node = at(node).parent) {
    if (at(node).lock_count++ == 0) {
      evictable_pages_ -= at(node).page_count;
      if (at(node).heap_position != kNone) {
        heap_remove(node);
      }
    }
  }
}

void RadixTree::unlock(std::uint32_t node) {
  ++clock_;
  while (node != kNone) {
    const std::uint32_t parent = at(node).parent;
    at(node).last_use = clock_;
    COPPICE_CHECK(at(node).lock_count > 0, "a lock is released once");
    if (--at(node).lock_count == 0) {
      evictable_pages_ += at(node).page_count;
      if (at(node).child_count == 0) {
        if (parent == kNone) {
          drop_root(node);
        } else {
          heap_push(node);
        }
      }
    }
    node = parent;
  }
}

RadixLock RadixTree::share(const RadixLock& lock) {
  COPPICE_CHECK(lock.tree_ == this, "a lock of this tree");
  lock_path(lock.node_, kNone);
  return {this, lock.node_, lock.token_count_};
}

// --- the engine's operations -----------------------------------------------------------------------------------------

std::int32_t RadixTree::peek(std::string_view tenant, std::span<const TokenId> tokens) const {
  const auto root = roots_.find(tenant);
  if (root == roots_.end()) {
    return 0;
  }
  std::int32_t found = 0;
  descend(root->second, tokens, [&found](PageId) { ++found; });
  return found * static_cast<std::int32_t>(page_size_);
}

RadixLock RadixTree::match(std::string_view tenant, std::span<const TokenId> tokens, PageTable& table) {
  COPPICE_CHECK(table.empty(), "match fills an empty table");
  const std::uint32_t root = root_of(tenant);
  Place place = descend(root, tokens, [&](PageId page) { table.append(pool_.share(page)); });
  if (place.page_count < at(place.node).page_count) {
    split(place.node, place.page_count);
    place.node = at(place.node).parent;
  }
  lock_path(place.node, kNone);
  return {this, place.node, table.size() * static_cast<std::int32_t>(page_size_)};
}

std::int32_t RadixTree::extend(RadixLock& lock, std::span<const TokenId> tokens, PageTable& table) {
  COPPICE_CHECK(lock.tree_ == this && tokens.size() % page_size_ == 0, "whole pages on a path of this tree");
  COPPICE_CHECK(static_cast<std::int32_t>(tokens.size()) >= lock.token_count_, "a path grows");
  auto index = static_cast<std::int32_t>(static_cast<std::size_t>(lock.token_count_) / page_size_);
  const auto end = static_cast<std::int32_t>(tokens.size() / page_size_);
  if (index == end) {
    return 0;
  }
  COPPICE_CHECK(table.size() >= end, "the table covers the tokens");
  std::int32_t replaced = 0;
  Place place = descend(lock.node_, tokens.subspan(static_cast<std::size_t>(lock.token_count_)), [&](PageId page) {
    if (table[index] != page) {
      table.replace(index, pool_.share(page));
      ++replaced;
    }
    ++index;
  });
  if (place.page_count < at(place.node).page_count) {
    split(place.node, place.page_count);
    place.node = at(place.node).parent;
  }
  lock_path(place.node, lock.node_);
  if (index < end) {
    // A leaf that only this lock holds grows in place; elsewhere other paths end or go on, so a child begins.
    const Node& here = at(place.node);
    const bool grows = here.lock_count == 1 && here.child_count == 0 && here.parent != kNone;
    const std::uint32_t parent = place.node;
    if (!grows) {
      place.node = new_node();
      at(place.node).parent = parent;
      at(place.node).lock_count = 1;
      ++at(parent).child_count;
    }
    for (; index < end; ++index) {
      append_page(place.node, table[index], tokens.data() + static_cast<std::size_t>(index) * page_size_);
    }
    if (!grows) {
      link_child(place.node);
    }
  }
  lock.node_ = place.node;
  lock.token_count_ = static_cast<std::int32_t>(tokens.size());
  return replaced;
}

// Takes the last page off an unlocked leaf; an empty leaf goes, and its parent may become one.
void RadixTree::drop_last_page(std::uint32_t leaf) {
  Node& node = at(leaf);
  const PageId page = node.last_page;
  if (node.page_count == 1) {
    const std::uint32_t parent = node.parent;
    heap_remove(leaf);
    unlink_child(leaf);
    free_node(leaf);
    Node& above = at(parent);
    if (--above.child_count == 0 && above.lock_count == 0) {
      if (above.parent == kNone) {
        drop_root(parent);
      } else {
        heap_push(parent);
      }
    }
  } else {
    node.last_page = previous_[static_cast<std::size_t>(page)];
    next_[static_cast<std::size_t>(node.last_page)] = kNoPage;
    --node.page_count;
  }
  references_[static_cast<std::size_t>(page)].reset();
  --pages_;
  --evictable_pages_;
}

std::int32_t RadixTree::evict(std::int32_t pages) {
  std::int32_t freed = 0;
  for (; freed < pages && !heap_.empty(); ++freed) {
    drop_last_page(heap_.front());
  }
  return freed;
}

// --- the heap of unlocked leaves -------------------------------------------------------------------------------------

void RadixTree::heap_push(std::uint32_t node) {
  at(node).heap_position = static_cast<std::uint32_t>(heap_.size());
  heap_.push_back(node);
  heap_settle(heap_.size() - 1);
}

void RadixTree::heap_remove(std::uint32_t node) {
  const std::size_t position = at(node).heap_position;
  at(node).heap_position = kNone;
  const std::uint32_t moved = heap_.back();
  heap_.pop_back();
  if (moved != node) {
    heap_[position] = moved;
    at(moved).heap_position = static_cast<std::uint32_t>(position);
    heap_settle(position);
  }
}

// Moves the entry at `position` up or down to where the order holds.
void RadixTree::heap_settle(std::size_t position) {
  const auto swap_with = [this, &position](std::size_t other) {
    std::swap(heap_[position], heap_[other]);
    at(heap_[position]).heap_position = static_cast<std::uint32_t>(position);
    at(heap_[other]).heap_position = static_cast<std::uint32_t>(other);
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

// --- integrity -------------------------------------------------------------------------------------------------------

void RadixTree::append_pages(std::vector<PageId>& pages) const {
  for (const Node& node : nodes_) {
    if (node.live) {
      for (PageId page = node.first_page; page != kNoPage; page = next_[static_cast<std::size_t>(page)]) {
        pages.push_back(page);
      }
    }
  }
}

void RadixTree::check_node(std::uint32_t index) const {
  const Node& node = at(index);
  const bool is_root = node.parent == kNone;
  COPPICE_CHECK(is_root == (root_names_.count(index) == 1), "exactly the roots have tenants");
  COPPICE_CHECK(is_root == (node.page_count == 0), "exactly the roots have no pages");
  COPPICE_CHECK(!is_root || node.child_count > 0 || node.lock_count > 0, "an unused root goes");
  std::int32_t count = 0;
  PageId last = kNoPage;
  for (PageId page = node.first_page; page != kNoPage; page = next_[static_cast<std::size_t>(page)]) {
    COPPICE_CHECK(references_[static_cast<std::size_t>(page)].id() == page, "the tree holds each of its pages");
    COPPICE_CHECK(previous_[static_cast<std::size_t>(page)] == last, "an edge reads the same backwards");
    COPPICE_CHECK(node.lock_count > 0 || pool_.references(page) == 1, "an unlocked page is the tree's alone");
    last = page;
    ++count;
  }
  COPPICE_CHECK(count == node.page_count && last == node.last_page, "an edge has the pages it says");
  const bool evictable = !is_root && node.lock_count == 0 && node.child_count == 0;
  COPPICE_CHECK(evictable == (node.heap_position != kNone), "the heap holds exactly the unlocked leaves");
  if (evictable) {
    COPPICE_CHECK(heap_[node.heap_position] == index, "a leaf knows its place in the heap");
    const std::size_t up = node.heap_position == 0 ? 0 : (node.heap_position - 1) / 2;
    COPPICE_CHECK(!older(index, heap_[up]), "the heap is in order");
  }
  if (!is_root) {
    COPPICE_CHECK(find_child(node.parent, tokens_of(node.first_page).data()) == index, "a child is found by its page");
    COPPICE_CHECK(at(node.parent).live && at(node.parent).lock_count >= node.lock_count,
                  "a lock covers its whole path");
    COPPICE_CHECK(at(node.parent).last_use >= node.last_use || at(node.parent).lock_count > 0,
                  "a path is as recent as what hangs on it");
  }
}

void RadixTree::check_integrity() const {
  std::int32_t pages = 0;
  std::int32_t evictable = 0;
  std::int32_t children = 0;
  std::int32_t non_roots = 0;
  for (std::uint32_t index = 0; index < nodes_.size(); ++index) {
    const Node& node = at(index);
    if (!node.live) {
      continue;
    }
    check_node(index);
    pages += node.page_count;
    evictable += node.lock_count == 0 ? node.page_count : 0;
    children += node.child_count;
    non_roots += node.parent == kNone ? 0 : 1;
  }
  COPPICE_CHECK(pages == pages_ && evictable == evictable_pages_, "page counts add up");
  COPPICE_CHECK(children == non_roots, "every node but the roots is somebody's child");
  COPPICE_CHECK(roots_.size() == root_names_.size(), "tenants and roots are one to one");
}

}  // namespace coppice::engine
