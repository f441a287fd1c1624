// What others hear is said without the lock.
#include "text/grammar/grammar_cache.h"

#include <utility>

namespace coppice::text {

const CompiledGrammar* GrammarCache::find_locked(const std::string& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    return nullptr;
  }
  ++counts_.hits;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &found->second->grammar;
}

std::optional<CompiledGrammar> GrammarCache::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const CompiledGrammar* const found = find_locked(key);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

bool GrammarCache::join(const std::string& key, Done done) {
  std::unique_lock lock(mutex_);
  if (const CompiledGrammar* const found = find_locked(key)) {
    const absl::StatusOr<CompiledGrammar> grammar = *found;
    lock.unlock();
    done(grammar);
    return false;
  }
  const auto [place, is_first] = joined_.try_emplace(key);
  place->second.push_back(std::move(done));
  ++(is_first ? counts_.compiles : counts_.hits);
  return is_first;
}

void GrammarCache::finish(const std::string& key, const absl::StatusOr<CompiledGrammar>& result) {
  std::vector<Done> joined;
  {
    const std::lock_guard lock(mutex_);
    if (const auto place = joined_.find(key); place != joined_.end()) {
      joined = std::move(place->second);
      joined_.erase(place);
    }
    if (result.ok()) {
      keep(key, *result);
    } else {
      ++counts_.failures;
    }
  }
  for (const Done& done : joined) {
    done(result);
  }
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
