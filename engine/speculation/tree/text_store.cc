// The texts of a suffix tree: growing, and leaving with their last label.
#include "engine/speculation/tree/text_store.h"

#include "base/check.h"

namespace coppice::engine::suffix_tree {

SequenceId TextStore::begin() {
  SequenceId sequence;
  if (free_sequences_.empty()) {
    sequence = sequences_.extend();
    COPPICE_CHECK(sequence < kSequencesMax, "sequences fit in 24 bits");
  } else {
    sequence = free_sequences_.back();
    free_sequences_.pop_back();
  }
  sequences_[sequence] = Sequence{};
  sequences_[sequence].text = std::make_shared<std::vector<TokenId>>();
  sequences_[sequence].birth = ++births_;
  return sequence;
}

void TextStore::push(SequenceId sequence, std::span<const TokenId> tokens) {
  Sequence& record = sequences_[sequence];
  COPPICE_CHECK(record.growing != kNotGrowing, "only growing sequences take tokens");
  COPPICE_CHECK(record.text->size() + tokens.size() < kTokensMax, "a sequence's tokens fit in 24 bits");
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
  text_bytes_ -= record.text->capacity() * sizeof(TokenId);
  record = Sequence{};
  free_sequences_.push_back(sequence);
}

}  // namespace coppice::engine::suffix_tree
