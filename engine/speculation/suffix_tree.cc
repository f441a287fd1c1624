// Growing a suffix tree: advancing the ends of a sequence's suffixes by a token, splitting edges. Removal is in
// suffix_tree_removal.cc.
#include "engine/speculation/suffix_tree.h"

#include <algorithm>
#include <bit>

namespace coppice::engine {

SuffixTree::SuffixTree(std::int32_t depth)
    : depth_(static_cast<std::uint32_t>(depth)),
      ring_bits_(static_cast<std::uint32_t>(std::bit_width(static_cast<std::uint32_t>(depth)))),
      ring_mask_((1U << ring_bits_) - 1) {
  COPPICE_CHECK(depth >= 1 && depth <= kDepthMax, "a suffix tree's depth");
  nodes_.extend();  // kNoNode
  nodes_.extend();  // kRoot
}

SuffixTree::SequenceId SuffixTree::begin() {
  SequenceId sequence;
  if (free_sequences_.empty()) {
    sequence = sequences_.extend();
    COPPICE_CHECK(sequence < (1U << 24), "sequences fit in 24 bits");
  } else {
    sequence = free_sequences_.back();
    free_sequences_.pop_back();
  }
  sequences_[sequence] = Sequence{};
  sequences_[sequence].text = std::make_shared<std::vector<TokenId>>();
  sequences_[sequence].birth = ++births_;
  sequences_[sequence].live = take_live(sequence);
  return sequence;
}

std::uint32_t SuffixTree::take_live(SequenceId sequence) {
  if (free_lives_.empty()) {
    free_lives_.push_back(static_cast<std::uint32_t>(lives_.size()));
    lives_.push_back(std::make_unique<Live>());
    lives_.back()->ring = std::make_unique<Active[]>(ring_mask_ + 1);
  }
  const std::uint32_t live = free_lives_.back();
  free_lives_.pop_back();
  lives_[live]->sequence = sequence;
  lives_[live]->first = 0;
  std::fill_n(lives_[live]->ring.get(), ring_mask_ + 1, Active{});
  return live;
}

void SuffixTree::push(SequenceId sequence, std::span<const TokenId> tokens) {
  Sequence& record = sequences_[sequence];
  COPPICE_CHECK(record.live != kNotLive, "only growing sequences take tokens");
  COPPICE_CHECK(record.text->size() + tokens.size() < (1U << 24), "a sequence's tokens fit in 24 bits");
  text_bytes_ -= record.text->capacity() * sizeof(TokenId);
  record.text->insert(record.text->end(), tokens.begin(), tokens.end());
  record.tokens = record.text->data();
  text_bytes_ += record.text->capacity() * sizeof(TokenId);
}

std::size_t SuffixTree::enter(SequenceId sequence, std::size_t count) {
  count = std::min(count, waiting(sequence));
  for (std::size_t i = 0; i < count; ++i) {
    enter_token(sequence);
  }
  return count;
}

void SuffixTree::enter_token(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  const std::uint32_t live_number = record.live;
  Live& live = *lives_[live_number];
  const std::uint32_t at = record.length;
  const TokenId token = record.tokens[at];
  COPPICE_CHECK(token >= 0, "tokens are not negative");
  ++record.length;
  ++token_count_;
  ++nodes_[kRoot].count;
  live.ring[at & ring_mask_] = {kRoot, at & 0xFFFFFF, 0, kNoRider, kNoRider};
  if (at - live.first > 1) {
    fetch_followers(live, at, token);
  }
  std::uint32_t first = at + 1;  // of those that stay active
  for (std::uint32_t start = live.first; start <= at; ++start) {
    Active& active = live.ring[start & ring_mask_];
    if (active.node != kNoNode) {
      advance((live_number << ring_bits_) | (start & ring_mask_), token);
      first = active.node != kNoNode ? std::min(first, start) : first;
    }
  }
  live.first = first;
}

// Where the suffixes will look for their next nodes is fetched for all of them at once, rather than one after the
// other.
void SuffixTree::fetch_followers(const Live& live, std::uint32_t end, TokenId token) const {
  for (const bool is_slot_there : {false, true}) {
    for (std::uint32_t start = live.first; start <= end; ++start) {
      const Active& active = live.ring[start & ring_mask_];
      if (active.node == kNoNode || active.depth != nodes_[active.node].depth) {
        continue;
      }
      const std::uint32_t hash = ChildIndex::hash(active.node, token);
      if (!is_slot_there) {
        index_.prefetch(hash);
      } else if (const NodeId next = index_.first(hash); next != kNoNode) {
        __builtin_prefetch(&nodes_[next]);
      }
    }
  }
}

void SuffixTree::advance(std::uint32_t rider, TokenId token) {
  Active& active = active_of(rider);
  Node& node = nodes_[active.node];
  if (active.depth == node.depth) {
    leave_node(rider, token);
    return;
  }
  if (inner_token(node, active.depth) != token) {
    active.node = end_edge_at(rider);
    leave_node(rider, token);
    return;
  }
  active.depth = (active.depth + 1U) & 0xFF;
  if (active.depth == node.depth) {
    unlink_rider(active.node, rider);
    reach_end(rider, active.node);
  }
}

// The rider is at its node's end.
void SuffixTree::leave_node(std::uint32_t rider, TokenId token) {
  Active& active = active_of(rider);
  const NodeId next = child(active.node, token);
  if (next == kNoNode) {
    add_leaf(active.node, token, sequence_of(rider), active.start);
    active.node = kNoNode;
    return;
  }
  active.depth = (active.depth + 1U) & 0xFF;
  active.node = next;
  if (active.depth == nodes_[next].depth) {
    reach_end(rider, next);
  } else {
    link_rider(next, rider);
  }
}

void SuffixTree::reach_end(std::uint32_t rider, NodeId number) {
  Active& active = active_of(rider);
  Node& node = nodes_[number];
  ++node.count;
  set_label(node, sequence_of(rider), active.start + active.depth);
  promote(number);
  active.node = active.depth == depth_ ? kNoNode : number;
}

void SuffixTree::add_leaf(NodeId parent, TokenId token, SequenceId sequence, std::uint32_t start) {
  const NodeId number = new_node();
  Node& leaf = nodes_[number];
  leaf.parent = parent;
  leaf.sequence = sequence & 0xFFFFFF;
  leaf.depth = depth_ & 0xFF;
  leaf.end = start + depth_;
  leaf.count = 1;
  leaf.token = token;
  ++sequences_[sequence].labels;
  link_child(parent, number);
  index_.insert(ChildIndex::hash(parent, token), number);
}

void SuffixTree::link_rider(NodeId number, std::uint32_t rider) {
  Node& node = nodes_[number];
  Active& active = active_of(rider);
  active.node = number;
  active.previous = kNoRider;
  active.next = node.riders;
  if (node.riders != kNoRider) {
    active_of(node.riders).previous = rider;
  }
  node.riders = rider;
}

void SuffixTree::unlink_rider(NodeId number, std::uint32_t rider) {
  Active& active = active_of(rider);
  if (active.previous != kNoRider) {
    active_of(active.previous).next = active.next;
  } else {
    nodes_[number].riders = active.next;
  }
  if (active.next != kNoRider) {
    active_of(active.next).previous = active.previous;
  }
  active.next = kNoRider;
  active.previous = kNoRider;
}

// Makes the place of a rider, inside an edge, the end of a node; which one.
SuffixTree::NodeId SuffixTree::end_edge_at(std::uint32_t rider) {
  const Active& active = active_of(rider);
  const NodeId number = active.node;
  if (inner_token(nodes_[number], active.depth) == kNoToken) {
    cut_leaf(number, active.depth);  // caught up with the sequence that writes this leaf
    return number;
  }
  return split(number, active.depth, sequence_of(rider), active.start + active.depth);
}

// A leaf whose text is written up to `depth` ends there; the suffix that wrote it is active again if it still grows.
void SuffixTree::cut_leaf(NodeId number, std::uint32_t depth) {
  Node& leaf = nodes_[number];
  const std::uint32_t start = leaf.end - leaf.depth;
  leaf.depth = depth & 0xFF;
  leaf.end = start + depth;
  settle_riders(number, number, depth);
  const std::uint32_t live_number = sequences_[leaf.sequence].live;
  if (live_number != kNotLive) {
    Live& live = *lives_[live_number];
    live.ring[start & ring_mask_] = {number, start & 0xFFFFFF, depth & 0xFF, kNoRider, kNoRider};
    live.first = std::min(live.first, start);
  }
}

// A new node at `depth` inside the edge above `lower`, its text ending at `end` of `sequence`.
SuffixTree::NodeId SuffixTree::split(NodeId lower_number, std::uint32_t depth, SequenceId sequence, std::uint32_t end) {
  const NodeId upper_number = new_node();
  Node& lower = nodes_[lower_number];
  Node& upper = nodes_[upper_number];
  upper.sequence = sequence & 0xFFFFFF;
  upper.depth = depth & 0xFF;
  upper.end = end;
  ++sequences_[sequence].labels;
  upper.count = lower.count + riders_at(lower, depth + 1);
  take_place(upper_number, lower_number);
  lower.token = inner_token(lower, depth);
  lower.parent = upper_number;
  lower.next = kNoNode;
  lower.previous = kNoNode;
  upper.first_child = lower_number;
  index_.insert(ChildIndex::hash(upper_number, lower.token), lower_number);
  settle_riders(lower_number, upper_number, depth);
  return upper_number;
}

// Riders of `from` before `depth` ride `to`, those at `depth` have reached its end.
void SuffixTree::settle_riders(NodeId from, NodeId to, std::uint32_t depth) {
  for (std::uint32_t rider = nodes_[from].riders; rider != kNoRider;) {
    const std::uint32_t after = active_of(rider).next;
    if (active_of(rider).depth == depth) {
      unlink_rider(from, rider);
      active_of(rider).node = to;
      ++nodes_[to].count;
    } else if (active_of(rider).depth < depth && from != to) {
      unlink_rider(from, rider);
      link_rider(to, rider);
    }
    rider = after;
  }
}

void SuffixTree::finish(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  COPPICE_CHECK(record.live != kNotLive, "a sequence ends once");
  Live& live = *lives_[record.live];
  for (std::uint32_t start = live.first; start < record.length; ++start) {
    const Active& active = live.ring[start & ring_mask_];
    if (active.node != kNoNode && active.depth != nodes_[active.node].depth) {
      end_edge_at((record.live << ring_bits_) | (start & ring_mask_));
    }
  }
  free_lives_.push_back(record.live);
  record.live = kNotLive;
  text_bytes_ -= record.text->capacity() * sizeof(TokenId);
  record.text->resize(record.length);
  record.text->shrink_to_fit();
  record.tokens = record.text->data();
  text_bytes_ += record.text->capacity() * sizeof(TokenId);
}

SuffixTree::Place SuffixTree::find(std::span<const TokenId> string) const {
  Place place{kRoot, 0};
  for (const TokenId token : string) {
    place = place.depth < depth_ ? follow(place, token) : Place{};
    if (place.node == kNoNode) {
      return {};
    }
  }
  return place;
}

bool SuffixTree::has_followers(Place place) const {
  const Node& node = nodes_[place.node];
  return place.depth == node.depth ? node.first_child != kNoNode : inner_token(node, place.depth) != kNoToken;
}

std::uint32_t SuffixTree::followed_count(Place place, int children_max) const {
  const Node& node = nodes_[place.node];
  if (place.depth != node.depth) {
    // Where a leaf's writer has come to, nothing has followed yet.
    return inner_token(node, place.depth) == kNoToken ? 0 : node.count + riders_at(node, place.depth + 1);
  }
  std::uint32_t sum = 0;
  for (NodeId at = node.first_child; at != kNoNode; at = nodes_[at].next) {
    if (children_max-- == 0) {
      return node.count;
    }
    sum += nodes_[at].count + riders_at(nodes_[at], 0);
  }
  return sum;
}

SuffixTree::NodeId SuffixTree::new_node() {
  if (free_node_ == kNoNode) {
    return nodes_.extend();
  }
  const NodeId number = free_node_;
  free_node_ = nodes_[number].next;
  --free_node_count_;
  nodes_[number] = Node{};
  return number;
}

void SuffixTree::free_node(NodeId number) {
  drop_label(nodes_[number].sequence);
  nodes_[number] = Node{};
  nodes_[number].next = free_node_;
  free_node_ = number;
  ++free_node_count_;
}

void SuffixTree::set_label(Node& node, SequenceId sequence, std::uint32_t end) {
  if (node.sequence != sequence) {
    drop_label(node.sequence);
    ++sequences_[sequence].labels;
    node.sequence = sequence & 0xFFFFFF;
  }
  node.end = end;
}

// `node` stands where `of` stood: parent, first token, siblings.
void SuffixTree::take_place(NodeId number, NodeId of) {
  Node& node = nodes_[number];
  const Node& old = nodes_[of];
  node.parent = old.parent;
  node.token = old.token;
  node.next = old.next;
  node.previous = old.previous;
  if (old.next != kNoNode) {
    nodes_[old.next].previous = number;
  }
  (old.previous != kNoNode ? nodes_[old.previous].next : nodes_[old.parent].first_child) = number;
  index_.replace(ChildIndex::hash(old.parent, old.token), of, number);
}

// After the first, so that the likeliest stays there.
void SuffixTree::link_child(NodeId parent_number, NodeId number) {
  Node& parent = nodes_[parent_number];
  Node& node = nodes_[number];
  if (parent.first_child == kNoNode) {
    parent.first_child = number;
    return;
  }
  Node& first = nodes_[parent.first_child];
  node.previous = parent.first_child;
  node.next = first.next;
  if (first.next != kNoNode) {
    nodes_[first.next].previous = number;
  }
  first.next = number;
}

void SuffixTree::unlink_child(NodeId number) {
  const Node& node = nodes_[number];
  (node.previous != kNoNode ? nodes_[node.previous].next : nodes_[node.parent].first_child) = node.next;
  if (node.next != kNoNode) {
    nodes_[node.next].previous = node.previous;
  }
}

// Keeps siblings about in order of their counts at little cost: every few passes a node overtakes the one before it.
void SuffixTree::promote(NodeId number) {
  Node& node = nodes_[number];
  if (node.previous == kNoNode || (node.count & 3) != 2) {
    return;
  }
  NodeId before = nodes_[node.parent].first_child;
  if (nodes_[before].count >= node.count) {
    before = node.previous;
    if (nodes_[before].count >= node.count) {
      return;
    }
  }
  unlink_child(number);
  Node& second = nodes_[before];
  node.next = before;
  node.previous = second.previous;
  (second.previous != kNoNode ? nodes_[second.previous].next : nodes_[node.parent].first_child) = number;
  second.previous = number;
}

std::size_t SuffixTree::bytes() const {
  return nodes_.bytes() - free_node_count_ * sizeof(Node) + index_.bytes() + sequences_.bytes() + text_bytes_ +
         lives_.size() * (sizeof(Live) + (ring_mask_ + 1) * sizeof(Active));
}

bool SuffixTree::dissolve() {
  return nodes_.shrink();
}

}  // namespace coppice::engine
