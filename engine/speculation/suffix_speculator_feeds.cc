// SuffixSpeculator: texts that are no sequence of this run, corpora and the outputs of an earlier run. They are entered
// into the trees and taken out again piece by piece, when there is time.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/speculation/suffix_speculator.h"
#include "engine/speculation/suffix_speculator_state.h"

namespace coppice::engine {

SuffixSpeculator::LibraryKey SuffixSpeculator::key_of(const Corpus& corpus) {
  return {corpus.everyones ? "*" : "=" + corpus.tenant, corpus.name};
}

void SuffixSpeculator::learn(Corpus&& corpus) {
  std::unique_ptr<Library>& library = libraries_[key_of(corpus)];
  if (library == nullptr) {
    library = std::make_unique<Library>();
    library->everyones = corpus.everyones;
  }
  for (std::vector<TokenId>& sequence : corpus.sequences) {
    const auto text = std::make_shared<const std::vector<TokenId>>(std::move(sequence));
    if (!corpus.everyones) {
      feed(tenant_of(corpus.tenant), library.get(), text);
      continue;
    }
    library->texts.push_back(text);
    for (const auto& [name, tenant] : tenants_) {
      feed(*tenant, library.get(), text);
    }
  }
}

void SuffixSpeculator::forget(const Corpus& corpus) {
  const auto found = libraries_.find(key_of(corpus));
  if (found == libraries_.end()) {
    return;
  }
  Library* library = found->second.get();
  for (Feed& feed : feeds_) {
    if (feed.library == library && feed.is_begun) {
      feed.tenant->tree.finish(feed.sequence);
      library->members.emplace_back(feed.tenant, feed.sequence);
    }
  }
  std::erase_if(feeds_, [library](const Feed& feed) {
    feed.tenant->users -= feed.library == library ? 1 : 0;
    return feed.library == library;
  });
  for (const auto& member : library->members) {
    ++member.first->users;
    discards_.push_back(member);
  }
  libraries_.erase(found);
}

SpeculationSnapshot SuffixSpeculator::take_snapshot() const {
  SpeculationSnapshot snapshot;
  for (const auto& [name, tenant] : tenants_) {
    TenantText text{name, {}};
    for (const SuffixTree::SequenceId sequence : tenant->finished) {
      text.sequences.push_back(tenant->tree.shared_text(sequence));
    }
    if (!text.sequences.empty()) {
      snapshot.tenants.push_back(std::move(text));
    }
  }
  return snapshot;
}

void SuffixSpeculator::restore(const SpeculationSnapshot& snapshot) {
  for (const TenantText& text : snapshot.tenants) {
    Tenant& tenant = tenant_of(text.tenant);
    for (const SharedText& sequence : text.sequences) {
      feed(tenant, nullptr, sequence);
    }
  }
}

void SuffixSpeculator::feed(Tenant& tenant, Library* library, const SharedText& text) {
  ++tenant.users;
  feeds_.push_back({&tenant, library, text, 0, 0, false});
}

bool SuffixSpeculator::catch_up(std::int32_t tokens_max) {
  auto left = static_cast<std::size_t>(std::max(tokens_max, 0));
  left -= discard_some(left);
  feed_some(left);
  dissolve_some();
  return !feeds_.empty() || !discards_.empty() || !dissolving_.empty();
}

std::size_t SuffixSpeculator::feed_some(std::size_t tokens_max) {
  std::size_t left = tokens_max;
  while (left > 0 && !feeds_.empty()) {
    Feed& feed = feeds_.front();
    Tenant& tenant = *feed.tenant;
    if (!feed.is_begun) {
      feed.sequence = tenant.tree.begin();
      feed.is_begun = true;
    }
    const std::size_t count = std::min(left, feed.text->size() - feed.done);
    tenant.tree.push(feed.sequence, std::span<const TokenId>(*feed.text).subspan(feed.done, count));
    tenant.tree.enter(feed.sequence, count);
    feed.done += count;
    left -= std::max<std::size_t>(count, 1);
    if (feed.done == feed.text->size()) {
      tenant.tree.finish(feed.sequence);
      if (feed.library != nullptr) {
        feed.library->members.emplace_back(&tenant, feed.sequence);
      } else {
        tenant.finished.push_back(feed.sequence);
      }
      --tenant.users;
      feeds_.pop_front();
    }
    account(tenant);
    evict(count * kEvictPerToken);
  }
  return tokens_max - left;
}

std::size_t SuffixSpeculator::discard_some(std::size_t tokens_max) {
  std::size_t left = tokens_max;
  while (left > 0 && !discards_.empty()) {
    const auto [tenant, sequence] = discards_.front();
    const std::size_t before = tenant->tree.tokens();
    if (tenant->tree.remove(sequence, left)) {
      discards_.pop_front();
      --tenant->users;
    }
    left -= std::min(left, std::max<std::size_t>(before - tenant->tree.tokens(), 1));
    account(*tenant);
  }
  return tokens_max - left;
}

// A tenant of whom nothing is left but corpora.
void SuffixSpeculator::forget_tenant(Tenant* tenant) {
  for (const auto& [key, library] : libraries_) {
    if (!library->everyones && std::any_of(library->members.begin(), library->members.end(),
                                           [tenant](const auto& member) { return member.first == tenant; })) {
      return;  // its own corpus is to stay
    }
  }
  for (const auto& [key, library] : libraries_) {
    std::erase_if(library->members, [tenant](const auto& member) { return member.first == tenant; });
  }
  bytes_ -= tenant->bytes;
  std::erase_if(tenants_, [tenant](const auto& entry) { return entry.second.get() == tenant; });
}

}  // namespace coppice::engine
