// SuffixSpeculator: texts that are no sequence of this run, corpora and the outputs of an earlier run. They are entered
// into the trees and taken out again piece by piece, when there is time.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/speculation/suffix_speculator.h"
#include "engine/speculation/suffix_speculator_state.h"

namespace coppice::engine {
namespace {

// Texts shared with a copy in one call: about 20 us.
constexpr std::size_t kCapturePerCall = 256;

}  // namespace

SuffixSpeculator::LibraryKey SuffixSpeculator::key_of(const Corpus& corpus) {
  return {corpus.everyones ? "*" : "=" + corpus.tenant, corpus.name};
}

void SuffixSpeculator::learn(Corpus&& corpus) {
  std::unique_ptr<Library>& library = libraries_[key_of(corpus)];
  if (library == nullptr) {
    library = std::make_unique<Library>();
  }
  if (corpus.everyones && everyone_ == nullptr) {
    everyone_ = std::make_unique<Tenant>("", options_.depth);
  }
  Tenant& tenant = corpus.everyones ? *everyone_ : tenant_of(corpus.tenant);
  for (std::vector<TokenId>& sequence : corpus.sequences) {
    feed(tenant, library.get(), std::make_shared<const std::vector<TokenId>>(std::move(sequence)));
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
      ++feed.tenant->corpus_texts;
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

void SuffixSpeculator::begin_capture() {
  capturing_ = true;
  capturing_tenant_.clear();
  captured_ = 0;
  capture_ = {};
}

bool SuffixSpeculator::take_capture(SpeculationSnapshot& out) {
  if (capturing_) {
    return false;
  }
  out = std::move(capture_);
  capture_ = {};
  return true;
}

void SuffixSpeculator::capture_some() {
  std::size_t left = kCapturePerCall;
  while (left > 0 && capturing_) {
    const auto found = tenants_.lower_bound(capturing_tenant_);
    if (found == tenants_.end()) {
      capturing_ = false;
      return;
    }
    if (found->first != capturing_tenant_) {
      capturing_tenant_ = found->first;
      captured_ = 0;
    }
    const Tenant& tenant = *found->second;
    if (captured_ < tenant.finished.size() && (captured_ == 0 || capture_.tenants.empty())) {
      capture_.tenants.push_back({found->first, {}});
    }
    for (; captured_ < tenant.finished.size() && left > 0; ++captured_, --left) {
      capture_.tenants.back().sequences.push_back(tenant.tree.shared_text(tenant.finished[captured_]));
    }
    if (captured_ >= tenant.finished.size()) {
      capturing_tenant_ += '\0';  // the next name in order
      captured_ = 0;
      left -= std::min<std::size_t>(left, 1);
    }
  }
}

absl::Status SuffixSpeculator::restore(SpeculationSnapshot&& snapshot) {
  for (const TenantText& text : snapshot.tenants) {
    Tenant& tenant = tenant_of(text.tenant);
    for (const SharedText& sequence : text.sequences) {
      feed(tenant, nullptr, sequence);
    }
  }
  return absl::OkStatus();
}

void SuffixSpeculator::feed(Tenant& tenant, Library* library, const SharedText& text) {
  ++tenant.users;
  feeds_.push_back({.tenant = &tenant, .library = library, .text = text});
}

bool SuffixSpeculator::catch_up(std::int32_t tokens_max) {
  auto left = static_cast<std::size_t>(std::max(tokens_max, 0));
  left -= discard_some(left);
  feed_some(left);
  dissolve_some();
  if (capturing_ && rests_ == 0) {  // a copy has whole outputs
    capture_some();
  }
  return !feeds_.empty() || !discards_.empty() || !dissolving_.empty() || capturing_;
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
    everyone_version_ += &tenant == everyone_.get() ? 1 : 0;
    const std::size_t count = std::min(left, feed.text->size() - feed.done);
    tenant.tree.push(feed.sequence, std::span<const TokenId>(*feed.text).subspan(feed.done, count));
    tenant.tree.enter(feed.sequence, count);
    feed.done += count;
    left -= std::max<std::size_t>(count, 1);
    if (feed.done == feed.text->size()) {
      tenant.tree.finish(feed.sequence);
      if (feed.library != nullptr) {
        feed.library->members.emplace_back(&tenant, feed.sequence);
        ++tenant.corpus_texts;
      } else {
        keep(tenant, feed.sequence);
      }
      --tenant.users;
      rests_ -= feed.is_rest ? feed.text->size() : 0;
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
    everyone_version_ += tenant == everyone_.get() ? 1 : 0;
    const std::size_t before = tenant->tree.tokens();
    if (tenant->tree.remove(sequence, left)) {
      discards_.pop_front();
      --tenant->users;
      --tenant->corpus_texts;
    }
    left -= std::min(left, std::max<std::size_t>(before - tenant->tree.tokens(), 1));
    account(*tenant);
  }
  return tokens_max - left;
}

}  // namespace coppice::engine
