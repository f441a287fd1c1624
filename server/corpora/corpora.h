// Corpora: the named texts that clients and --speculation-corpus hand over to draft from. This is the list of them and
// its bounds; their tokens live in the engine's suffix trees.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "proto/openai/corpus.h"
#include "server/access/api_keys.h"
#include "server/prompts/prompt_encoder.h"

namespace coppice::server {

// All of them bound what one API key may have: an equal share of the whole for each key, so that no caller's corpora
// can make another caller's be refused.
struct CorporaLimits {
  std::int64_t tokens_max = 0;                 // of all corpora together
  std::int64_t sequences_max = 1 << 20;        // likewise: a sequence takes some 300 bytes beside its tokens
  std::int64_t corpora_max = 1024;             // of one key: a list of them stays a short answer
  std::int64_t sequence_tokens_max = 1 << 22;  // of one sequence: far below what a suffix tree can number
  std::int64_t calls_max = 16;                 // of one key, that the engine has not taken yet; between two steps
  std::size_t text_bytes_max = 1U << 20U;      // of one call: text is tokenised while others wait for the thread
};

// Owner: the app. Thread: any; internally locked. The engine, the keys and what the encoder is a view of outlive it.
class Corpora {
 public:
  Corpora(engine::Engine& engine, const PromptEncoder& encoder, const ApiKeys& keys, const CorporaLimits& limits)
      : engine_(engine), encoder_(encoder), keys_(keys), limits_(limits) {}

  // Adds the texts to the tenant's corpus of that name, which it makes when there is none. Returns the whole corpus.
  // ERRORS: 400 for text that cannot be tokenised or has no tokens; 413 beyond a bound; 429 while the engine has not
  // taken earlier calls. Nothing is added then.
  openai::Result<openai::CorpusCard> add(const std::string& tenant, const openai::CorpusRequest& request,
                                         const JobContext& job = {});
  // The tenant's corpora, then everyone's, each by name.
  std::vector<openai::CorpusCard> list(const std::string& tenant) const;
  // ERRORS: 404 when the tenant has no corpus of that name.
  openai::MaybeError drop(const std::string& tenant, const std::string& name);
  // Drops all corpora of the keys of these names (ApiKeys::replace()).
  void drop_keys(const std::vector<std::string>& key_tenants);

  // Reads a file of JSON lines as everyone's corpus, named after the file; returns its tokens. ERRORS: NotFound,
  // InvalidArgument naming file and line; ResourceExhausted beyond the bound.
  absl::StatusOr<std::int64_t> preload(const std::string& path, const openai::RequestLimits& limits);

 private:
  struct Key {
    bool everyones = false;
    std::string tenant;
    std::string name;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    std::int64_t sequences = 0;
    std::int64_t tokens = 0;
  };
  // What one key's corpora hold, those included that the engine has yet to drop.
  struct Use {
    std::atomic<std::int64_t> tokens{0};
    std::atomic<std::int64_t> sequences{0};
    std::atomic<std::int64_t> calls{0};  // that the engine has not taken
    Entry listed;                        // without those that the engine has yet to drop; guarded by mutex_
    std::int64_t corpora = 0;            // guarded by mutex_
  };
  using UsePtr = std::shared_ptr<Use>;

  openai::Result<std::vector<std::vector<TokenId>>> to_tokens(const std::vector<openai::CorpusText>& texts,
                                                              const JobContext& job) const;
  // What the owner of the corpus uses, made when there is nothing yet. REQUIRES: mutex_.
  UsePtr use_of(const Key& key);
  // Why `more` cannot be added to the corpus, or nothing. REQUIRES: mutex_.
  openai::MaybeError refusal(const Key& key, const Use& use, const Entry& more) const;
  // nullopt: added.
  openai::MaybeError hand_over(const Key& key, std::vector<std::vector<TokenId>> sequences, openai::CorpusCard& card);
  // False when the engine's queue is full. REQUIRES: mutex_.
  bool tell_to_forget(const Key& key);
  void erase(std::map<Key, Entry>::iterator found);

  engine::Engine& engine_;
  const PromptEncoder encoder_;
  const ApiKeys& keys_;
  const CorporaLimits limits_;
  mutable std::mutex mutex_;
  std::map<Key, Entry> entries_;        // guarded by mutex_
  std::map<std::string, UsePtr> uses_;  // by the key's part of the tenant; guarded by mutex_
  Entry everyones_;                     // of --speculation-corpus; guarded by mutex_
};

}  // namespace coppice::server
