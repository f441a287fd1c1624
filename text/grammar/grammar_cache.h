// Compiled grammars kept for the next request that wants the same, and one compile for all that want it now. Where and
// when a grammar is compiled is the caller's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "text/grammar/grammar.h"

namespace coppice::text {

struct GrammarCacheCounts {
  std::int64_t hits = 0;      // found, or waited for another's compile
  std::int64_t compiles = 0;  // failed ones too
  std::int64_t failures = 0;
  std::size_t bytes = 0;  // of the grammars kept now
  std::size_t grammars = 0;
};

// Keys: canonical_text() of a spec. Thread: any number may call any method at once.
class GrammarCache {
 public:
  using Done = std::function<void(const absl::StatusOr<CompiledGrammar>&)>;

  // Keeps grammars of at most `bytes_max` together, those used last.
  explicit GrammarCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // Returns the grammar if it is kept.
  std::optional<CompiledGrammar> find(const std::string& key);

  // Calls `done` with the grammar, once: at once if it is kept, else from finish(). Returns true for the first that
  // joins: the caller has to compile then, and to call finish() whatever happens.
  bool join(const std::string& key, Done done);
  // Hands the result to all that have joined since. An error is not kept.
  void finish(const std::string& key, const absl::StatusOr<CompiledGrammar>& result);

  GrammarCacheCounts counts() const;

 private:
  struct Entry {
    std::string key;
    CompiledGrammar grammar;
    std::size_t bytes;
  };

  const CompiledGrammar* find_locked(const std::string& key);
  void keep(const std::string& key, const CompiledGrammar& grammar);

  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // the one used last first
  std::map<std::string, std::list<Entry>::iterator> by_key_;
  std::map<std::string, std::vector<Done>> joined_;  // of the grammars that are being compiled
  GrammarCacheCounts counts_;
};

}  // namespace coppice::text
