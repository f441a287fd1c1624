// Which output goes first when the trees take too much memory; entering, removing and copying texts piece by piece.
#include "engine/speculation/tenant_trees.h"

#include <algorithm>
#include <utility>

namespace coppice::engine {
namespace {

// Suffixes evicted for each token that comes in while the trees are too large: more than one, so that they shrink.
constexpr std::size_t kEvictPerToken = 2;
// And for each sequence that ends: requests with a salt of their own bring few tokens and a tree each.
constexpr std::size_t kEvictAtEnd = 48;
// Tokens of ended sequences that may wait: bounds the memory and the delay. What ends beyond that is not learned.
constexpr std::size_t kRemainingMax = std::size_t{1} << 16;

// Texts shared with a copy in one call: about 20 us.
constexpr std::size_t kTextsPerCall = 256;

}  // namespace

Tenant& TenantTrees::tenant(std::string_view name) {
  const std::string_view key = is_shared_ ? std::string_view() : name;
  auto found = tenants_.find(key);
  if (found == tenants_.end()) {
    found =
        tenants_.emplace(std::string(key), std::make_unique<Tenant>(std::string(key), depth_, sequences_max_)).first;
  }
  return *found->second;
}

Tenant& TenantTrees::everyone() {
  if (everyone_ == nullptr) {
    everyone_ = std::make_unique<Tenant>("", depth_, sequences_max_);
  }
  return *everyone_;
}

const Tenant* TenantTrees::first_from(std::string_view name) const {
  const auto found = tenants_.lower_bound(name);
  return found == tenants_.end() ? nullptr : found->second.get();
}

void TenantTrees::account(Tenant& tenant) {
  bytes_ -= tenant.bytes;
  tenant.bytes = tenant.tree.bytes();
  bytes_ += tenant.bytes;
}

void TenantTrees::keep(Tenant& tenant, SuffixTree::SequenceId sequence) {
  if (tenant.tree.text(sequence).empty()) {  // nothing to draft from, but a place taken
    tenant.tree.remove(sequence, 1);
    return;
  }
  tenant.finished.push_back(sequence);
  ages_.push_back(&tenant);
}

void TenantTrees::make_room_for_tokens(std::size_t tokens) {
  evict(tokens * kEvictPerToken);
}

void TenantTrees::make_room_for_end() {
  evict(kEvictAtEnd);
}

void TenantTrees::forget_if_empty(const Tenant& tenant) {
  if (tenant.finished.empty() && tenant.users == 0 && tenant.corpus_texts == 0 && &tenant != everyone_.get()) {
    bytes_ -= tenant.bytes;
    tenants_.erase(tenants_.find(tenant.name));
  }
}

// An output that is partly out is always finished first. A tenant goes with the last text of it.
void TenantTrees::evict(std::size_t suffixes_max) {
  while (suffixes_max > 0 && !ages_.empty() && (is_evicting_ || is_full())) {
    Tenant& tenant = *ages_.front();
    const std::size_t before = tenant.tree.tokens();
    is_evicting_ = !tenant.tree.remove(tenant.finished.front(), suffixes_max);
    suffixes_max -= std::min(suffixes_max, std::max<std::size_t>(before - tenant.tree.tokens(), 1));
    account(tenant);
    if (is_evicting_) {
      continue;
    }
    tenant.finished.pop_front();
    ages_.pop_front();
    forget_if_empty(tenant);
  }
}

std::size_t TenantTrees::tokens() const {
  std::size_t sum = everyone_ == nullptr ? 0 : everyone_->tree.tokens();
  for (const auto& [name, tenant] : tenants_) {
    sum += tenant->tree.tokens();
  }
  return sum;
}

TextBacklog::LibraryKey TextBacklog::key_of(const Corpus& corpus) {
  return {corpus.everyones ? "*" : "=" + corpus.tenant, corpus.name};
}

void TextBacklog::learn(Corpus&& corpus) {
  std::unique_ptr<Library>& library = libraries_[key_of(corpus)];
  if (library == nullptr) {
    library = std::make_unique<Library>();
  }
  library->receipts.push_back(std::move(corpus.while_kept));
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
  if (!corpus.everyones) {
    trees_.forget_if_empty(trees_.tenant(corpus.tenant));
  }
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
    if (!entry.is_begun && (entry.text->empty() || tenant.tree.is_full())) {  // nothing to learn, or no place for it
      --tenant.users;
      entries_.pop_front();
      trees_.forget_if_empty(tenant);
      --left;
      continue;
    }
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
    trees_.forget_if_empty(tenant);
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
    trees_.forget_if_empty(*tenant);
  }
  return tokens_max - left;
}

void OutputCapture::begin() {
  is_under_way_ = true;
  tenant_.clear();
  done_ = 0;
  snapshot_ = {};
}

SpeculationSnapshot OutputCapture::take() {
  return std::exchange(snapshot_, {});
}

void OutputCapture::work(const TenantTrees& trees) {
  std::size_t left = kTextsPerCall;
  while (left > 0 && is_under_way_) {
    const Tenant* tenant = trees.first_from(tenant_);
    if (tenant == nullptr) {
      is_under_way_ = false;
      return;
    }
    if (tenant->name != tenant_) {
      tenant_ = tenant->name;
      done_ = 0;
    }
    if (done_ < tenant->finished.size() && (done_ == 0 || snapshot_.tenants.empty())) {
      snapshot_.tenants.push_back({tenant->name, {}});
    }
    for (; done_ < tenant->finished.size() && left > 0; ++done_, --left) {
      snapshot_.tenants.back().sequences.push_back(tenant->tree.shared_text(tenant->finished[done_]));
    }
    if (done_ >= tenant->finished.size()) {
      tenant_ += '\0';  // the next name in order
      done_ = 0;
      left -= std::min<std::size_t>(left, 1);
    }
  }
}

}  // namespace coppice::engine
