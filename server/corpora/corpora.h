// Corpora: the named texts that clients and --speculation-corpus hand over to draft from. This is the list of them and
// its bounds; their tokens live in the engine's suffix trees.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "proto/openai/corpus.h"
#include "server/prompts/prompt_encoder.h"

namespace coppice::server {

struct CorporaLimits {
  std::int64_t tokens_max = 0;             // of all corpora together
  std::int64_t corpora_max = 1024;         // likewise
  std::size_t text_bytes_max = 1U << 20U;  // of one call: text is tokenised on a thread that serves others too
};

// Owner: the app. Thread: any; internally locked. The engine and what the encoder is a view of outlive it.
class Corpora {
 public:
  Corpora(engine::Engine& engine, const PromptEncoder& encoder, const CorporaLimits& limits)
      : engine_(engine), encoder_(encoder), limits_(limits) {}

  // Adds the texts to the tenant's corpus of that name, which it makes when there is none. Returns the whole corpus.
  // ERRORS: 400 for text that cannot be tokenised; 413 beyond a bound; 429 when the engine's queue is full. Nothing is
  // added then.
  openai::Result<openai::CorpusCard> add(const std::string& tenant, const openai::CorpusRequest& request);
  // The tenant's corpora and everyone's, by name.
  std::vector<openai::CorpusCard> list(const std::string& tenant) const;
  // ERRORS: 404 when the tenant has no corpus of that name.
  openai::MaybeError drop(const std::string& tenant, const std::string& name);

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

  openai::Result<std::vector<std::vector<TokenId>>> to_tokens(const std::vector<openai::CorpusText>& texts) const;
  // nullopt: added.
  openai::MaybeError hand_over(const Key& key, std::vector<std::vector<TokenId>> sequences, openai::CorpusCard& card);

  engine::Engine& engine_;
  const PromptEncoder encoder_;
  const CorporaLimits limits_;
  mutable std::mutex mutex_;
  std::map<Key, Entry> entries_;   // guarded by mutex_
  std::int64_t tokens_total_ = 0;  // guarded by mutex_
};

}  // namespace coppice::server
