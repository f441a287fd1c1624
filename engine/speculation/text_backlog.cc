// Entering and removing texts piece by piece.
#include "engine/speculation/text_backlog.h"

#include <algorithm>

namespace coppice::engine {
namespace {

// Tokens of ended sequences that may wait: bounds the memory and the delay. What ends beyond that is not learned.
constexpr std::size_t kRemainingMax = std::size_t{1} << 16;

}  // namespace

TextBacklog::LibraryKey TextBacklog::key_of(const Corpus& corpus) {
  return {corpus.everyones ? "*" : "=" + corpus.tenant, corpus.name};
}

void TextBacklog::learn(Corpus&& corpus) {
  std::unique_ptr<Library>& library = libraries_[key_of(corpus)];
  if (library == nullptr) {
    library = std::make_unique<Library>();
  }
  Tenant& tenant = corpus.everyones ? trees_.everyone() : trees_.tenant(corpus.tenant);
  for (std::vector<TokenId>& sequence : corpus.sequences) {
    add(tenant, library.get(), std::make_shared<const std::vector<TokenId>>(std::move(sequence)));
  }
}

void TextBacklog::forget(const Corpus& corpus) {
  const auto found = libraries_.find(key_of(corpus));
  if (found == libraries_.end()) {
    return;
  }
  Library* library = found->second.get();
  for (const Entry& entry : entries_) {
    if (entry.library == library && entry.is_begun) {
      entry.tenant->tree.finish(entry.sequence);
      library->texts.emplace_back(entry.tenant, entry.sequence);
      ++entry.tenant->corpus_texts;
    }
  }
  std::erase_if(entries_, [library](const Entry& entry) {
    entry.tenant->users -= entry.library == library ? 1 : 0;
    return entry.library == library;
  });
  for (const TreeText& text : library->texts) {
    ++text.first->users;
    removals_.push_back(text);
  }
  libraries_.erase(found);
}

void TextBacklog::restore(Tenant& tenant, const SharedText& text) {
  add(tenant, nullptr, text);
}

void TextBacklog::add(Tenant& tenant, Library* library, const SharedText& text) {
  ++tenant.users;
  entries_.push_back({.tenant = &tenant, .library = library, .text = text});
}

bool TextBacklog::has_room_for_remaining(std::size_t tokens) const {
  return remaining_ + tokens <= kRemainingMax && !trees_.is_full();
}

void TextBacklog::add_remaining(Tenant& tenant, SuffixTree::SequenceId sequence, std::vector<TokenId>&& tokens) {
  remaining_ += tokens.size();
  entries_.push_back({.tenant = &tenant,
                      .text = std::make_shared<const std::vector<TokenId>>(std::move(tokens)),
                      .sequence = sequence,
                      .is_begun = true,
                      .is_remaining = true});
}

void TextBacklog::work(std::size_t tokens_max) {
  enter_some(tokens_max - remove_some(tokens_max));
}

void TextBacklog::enter_some(std::size_t tokens_max) {
  std::size_t left = tokens_max;
  while (left > 0 && !entries_.empty()) {
    Entry& entry = entries_.front();
    Tenant& tenant = *entry.tenant;
    if (!entry.is_begun) {
      entry.sequence = tenant.tree.begin();
      entry.is_begun = true;
    }
    ++tenant.version;
    const std::size_t count = std::min(left, entry.text->size() - entry.done);
    tenant.tree.push(entry.sequence, std::span<const TokenId>(*entry.text).subspan(entry.done, count));
    tenant.tree.enter(entry.sequence, count);
    entry.done += count;
    left -= std::max<std::size_t>(count, 1);
    if (entry.done == entry.text->size()) {
      finish(entry);
      entries_.pop_front();
    }
    trees_.account(tenant);
    trees_.make_room_for_tokens(count);
  }
}

void TextBacklog::finish(const Entry& entry) {
  entry.tenant->tree.finish(entry.sequence);
  if (entry.library != nullptr) {
    entry.library->texts.emplace_back(entry.tenant, entry.sequence);
    ++entry.tenant->corpus_texts;
  } else {
    trees_.keep(*entry.tenant, entry.sequence);
  }
  --entry.tenant->users;
  remaining_ -= entry.is_remaining ? entry.text->size() : 0;
}

// Returns how many of the tokens it used up: a text without any counts as one.
std::size_t TextBacklog::remove_some(std::size_t tokens_max) {
  std::size_t left = tokens_max;
  while (left > 0 && !removals_.empty()) {
    const auto [tenant, sequence] = removals_.front();
    ++tenant->version;
    const std::size_t before = tenant->tree.tokens();
    if (tenant->tree.remove(sequence, left)) {
      removals_.pop_front();
      --tenant->users;
      --tenant->corpus_texts;
    }
    left -= std::min(left, std::max<std::size_t>(before - tenant->tree.tokens(), 1));
    trees_.account(*tenant);
  }
  return tokens_max - left;
}

}  // namespace coppice::engine
