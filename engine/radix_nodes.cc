// The nodes of the prefix cache and the heap of its unlocked leaves.
#include "engine/radix_nodes.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
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
  top.keep_count = deep.keep_count;
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

}  // namespace coppice::engine
