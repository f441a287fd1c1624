// Compiled grammars kept for the next request that wants the same, and one compile for all that want it now.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "text/grammar/grammar.h"

namespace coppice::text {

struct GrammarCacheCounts {
  std::int64_t hits = 0;      // found, or waited for another's compile
  std::int64_t compiles = 0;  // failed ones too
  std::size_t bytes = 0;      // of the grammars kept now
  std::size_t grammars = 0;
};

// Thread: any number may call any method at once.
class GrammarCache {
 public:
  // Keeps grammars of at most `bytes_max` together, those used last. REQUIRES: the compiler outlives it.
  GrammarCache(const GrammarCompiler& compiler, std::size_t bytes_max);

  // Returns the grammar of `spec`, compiled on this thread unless it is kept or another thread compiles it; then waits.
  // ERRORS: as GrammarCompiler::compile. An error is returned to all waiting threads and is not kept.
  absl::StatusOr<CompiledGrammar> get(const GrammarSpec& spec);

  GrammarCacheCounts counts() const;

 private:
  struct Pending {
    bool is_done = false;
    absl::StatusOr<CompiledGrammar> result = absl::UnknownError("not compiled yet");
  };
  struct Entry {
    std::string key;
    CompiledGrammar grammar;
    std::size_t bytes;
  };

  void keep(const std::string& key, const CompiledGrammar& grammar);

  const GrammarCompiler& compiler_;
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable compiled_;
  std::list<Entry> entries_;  // the one used last first
  std::map<std::string, std::list<Entry>::iterator> by_key_;
  std::map<std::string, std::shared_ptr<Pending>> pending_;
  GrammarCacheCounts counts_;
};

}  // namespace coppice::text
