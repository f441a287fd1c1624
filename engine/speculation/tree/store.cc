// The texts of a suffix tree, growing, and leaving with their last label; the active ends of growing sequences, and the
// lists of those inside an edge; what takes both.
#include "engine/speculation/tree/store.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace coppice::engine::suffix_tree {

SequenceId TextStore::begin() {
  COPPICE_CHECK(!is_full(), "a sequence begins only where there is room for one");
  SequenceId sequence;
  if (free_sequences_.empty()) {
    sequence = sequences_.extend();
  } else {
    sequence = free_sequences_.back();
    free_sequences_.pop_back();
  }
  sequences_[sequence] = Sequence{};
  sequences_[sequence].text = std::make_shared<std::vector<TokenId>>();
  sequences_[sequence].birth = ++births_;
  text_bytes_ += kTextBytes;
  return sequence;
}

void TextStore::push(SequenceId sequence, std::span<const TokenId> tokens) {
  Sequence& record = sequences_[sequence];
  COPPICE_CHECK(record.growing != kNotGrowing, "only growing sequences take tokens");
  tokens = tokens.first(std::min<std::size_t>(tokens.size(), kTokensMax - 1 - record.text->size()));
  text_bytes_ -= record.text->capacity() * sizeof(TokenId);
  record.text->insert(record.text->end(), tokens.begin(), tokens.end());
  record.tokens = record.text->data();
  text_bytes_ += record.text->capacity() * sizeof(TokenId);
}

TokenId TextStore::enter_next(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  const TokenId token = record.tokens[record.length];
  COPPICE_CHECK(token >= 0, "tokens are not negative");
  ++record.length;
  ++token_count_;
  return token;
}

void TextStore::close(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  record.growing = kNotGrowing;
  text_bytes_ -= record.text->capacity() * sizeof(TokenId);
  record.text->resize(record.length);
  record.text->shrink_to_fit();
  record.tokens = record.text->data();
  text_bytes_ += record.text->capacity() * sizeof(TokenId);
}

void TextStore::drop_label(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  --record.labels;
  if (record.is_gone && record.labels == 0) {
    retire(sequence);
  }
}

void TextStore::drop_suffix(SequenceId sequence) {
  ++sequences_[sequence].removed;
  --token_count_;
}

void TextStore::drop_sequence(SequenceId sequence) {
  sequences_[sequence].is_gone = true;
  if (sequences_[sequence].labels == 0) {
    retire(sequence);
  }
}

void TextStore::retire(SequenceId sequence) {
  Sequence& record = sequences_[sequence];
  text_bytes_ -= record.text->capacity() * sizeof(TokenId) + kTextBytes;
  record = Sequence{};
  free_sequences_.push_back(sequence);
}

ActiveEnds::ActiveEnds(std::uint32_t depth)
    : ring_bits_(static_cast<std::uint32_t>(std::bit_width(depth))), ring_mask_((1U << ring_bits_) - 1) {}

std::uint32_t ActiveEnds::open(SequenceId sequence) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(growing_.size()));
    growing_.push_back(std::make_unique<Growing>());
    growing_.back()->ring = std::make_unique<End[]>(ring_size());
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  growing_[index]->sequence = sequence;
  growing_[index]->first = 0;
  std::fill_n(growing_[index]->ring.get(), ring_size(), End{});
  return index;
}

void ActiveEnds::link(Node& node, NodeId number, EndId id) {
  End& end = (*this)[id];
  end.node = number;
  end.previous = kNoEnd;
  end.next = node.inner_ends;
  if (node.inner_ends != kNoEnd) {
    (*this)[node.inner_ends].previous = id;
  }
  node.inner_ends = id;
}

void ActiveEnds::unlink(Node& node, EndId id) {
  End& end = (*this)[id];
  if (end.previous != kNoEnd) {
    (*this)[end.previous].next = end.next;
  } else {
    node.inner_ends = end.next;
  }
  if (end.next != kNoEnd) {
    (*this)[end.next].previous = end.previous;
  }
  end.next = kNoEnd;
  end.previous = kNoEnd;
}

void Store::settle_ends(NodeId from, NodeId to, std::uint32_t at) {
  for (EndId id = nodes[from].inner_ends; id != kNoEnd;) {
    const EndId after = ends[id].next;
    if (ends[id].depth == at) {
      ends.unlink(nodes[from], id);
      ends[id].node = to;
      ++nodes[to].count;
    } else if (ends[id].depth < at && from != to) {
      ends.unlink(nodes[from], id);
      ends.link(nodes[to], to, id);
    }
    id = after;
  }
}

}  // namespace coppice::engine::suffix_tree
