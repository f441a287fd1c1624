// Threads that want a grammar which another compiles wait on one condition variable for all.
#include "text/grammar/grammar_cache.h"

#include <utility>

namespace coppice::text {

GrammarCache::GrammarCache(const GrammarCompiler& compiler, std::size_t bytes_max)
    : compiler_(compiler), bytes_max_(bytes_max) {}

absl::StatusOr<CompiledGrammar> GrammarCache::get(const GrammarSpec& spec) {
  const std::string key = canonical_text(spec);
  std::unique_lock lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    ++counts_.hits;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->grammar;
  }
  if (const auto found = pending_.find(key); found != pending_.end()) {
    ++counts_.hits;
    const std::shared_ptr<Pending> pending = found->second;
    compiled_.wait(lock, [&] { return pending->is_done; });
    return pending->result;
  }
  ++counts_.compiles;
  const auto pending = std::make_shared<Pending>();
  pending_.emplace(key, pending);
  lock.unlock();
  absl::StatusOr<CompiledGrammar> result = compiler_.compile(spec);
  lock.lock();
  if (result.ok()) {
    keep(key, *result);
  }
  pending->result = result;
  pending->is_done = true;
  pending_.erase(key);
  compiled_.notify_all();
  return result;
}

void GrammarCache::keep(const std::string& key, const CompiledGrammar& grammar) {
  const std::size_t bytes = grammar.memory_bytes() + 2 * key.size();  // the key lies in the list and in the map
  if (bytes > bytes_max_) {
    return;
  }
  entries_.push_front({key, grammar, bytes});
  by_key_[key] = entries_.begin();
  counts_.bytes += bytes;
  while (counts_.bytes > bytes_max_) {
    counts_.bytes -= entries_.back().bytes;
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

GrammarCacheCounts GrammarCache::counts() const {
  const std::lock_guard lock(mutex_);
  GrammarCacheCounts counts = counts_;
  counts.grammars = entries_.size();
  return counts;
}

}  // namespace coppice::text
