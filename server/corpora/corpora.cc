// Corpora: bounds, tokenising, and telling the engine.
#include "server/corpora/corpora.h"

#include <fmt/format.h>
#include <filesystem>
#include <fstream>

#include "proto/openai/api_error.h"

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 1;  // soon: one step of the engine may empty its queue

openai::ApiError too_much(const char* param, std::string message) {
  openai::ApiError error = openai::bad_value(param, std::move(message));
  error.status = 413;
  return error;
}

}  // namespace

openai::Result<std::vector<std::vector<TokenId>>> Corpora::to_tokens(
    const std::vector<openai::CorpusText>& texts) const {
  std::vector<std::vector<TokenId>> sequences;
  std::size_t bytes = 0;
  for (const openai::CorpusText& text : texts) {
    if (const auto* const tokens = std::get_if<std::vector<TokenId>>(&text)) {
      sequences.push_back(*tokens);
      continue;
    }
    const auto& string = std::get<std::string>(text);
    bytes += string.size();
    if (bytes > limits_.text_bytes_max) {
      return too_much("texts", fmt::format("one call may bring at most {} bytes of text; send the rest in further "
                                           "calls with the same name",
                                           limits_.text_bytes_max));
    }
    openai::Result<TokenIds> tokens = encoder_.encode_output("texts", string);
    if (!tokens.ok()) {
      return std::move(tokens.error());
    }
    sequences.push_back(std::move(tokens.value()));
  }
  return sequences;
}

openai::MaybeError Corpora::hand_over(const Key& key, std::vector<std::vector<TokenId>> sequences,
                                      openai::CorpusCard& card) {
  std::int64_t tokens = 0;
  for (const std::vector<TokenId>& sequence : sequences) {
    tokens += static_cast<std::int64_t>(sequence.size());
  }
  const auto count = static_cast<std::int64_t>(sequences.size());
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() && static_cast<std::int64_t>(entries_.size()) >= limits_.corpora_max) {
    return too_much("name", fmt::format("there are {} corpora already; drop one first", limits_.corpora_max));
  }
  if (tokens > limits_.tokens_max - tokens_total_) {
    return too_much("texts", fmt::format("the corpora may hold {} tokens in all, {} are left; got {}",
                                         limits_.tokens_max, limits_.tokens_max - tokens_total_, tokens));
  }
  if (!engine_.learn({key.name, key.tenant, key.everyones, std::move(sequences)})) {
    return openai::overloaded("the engine's queue is full; try again", kRetryAfterSeconds);
  }
  Entry& entry = entries_[key];
  entry.sequences += count;
  entry.tokens += tokens;
  tokens_total_ += tokens;
  card = {key.name, entry.sequences, entry.tokens, key.everyones};
  return std::nullopt;
}

openai::Result<openai::CorpusCard> Corpora::add(const std::string& tenant, const openai::CorpusRequest& request) {
  openai::Result<std::vector<std::vector<TokenId>>> sequences = to_tokens(request.texts);
  if (!sequences.ok()) {
    return std::move(sequences.error());
  }
  openai::CorpusCard card;
  if (openai::MaybeError error = hand_over({false, tenant, request.name}, std::move(sequences.value()), card)) {
    return std::move(*error);
  }
  return card;
}

std::vector<openai::CorpusCard> Corpora::list(const std::string& tenant) const {
  std::vector<openai::CorpusCard> cards;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [key, entry] : entries_) {
    if (key.everyones || key.tenant == tenant) {
      cards.push_back({key.name, entry.sequences, entry.tokens, key.everyones});
    }
  }
  return cards;
}

openai::MaybeError Corpora::drop(const std::string& tenant, const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find({false, tenant, name});
  if (found == entries_.end()) {
    return openai::not_found("name", "corpus_not_found", fmt::format("there is no corpus '{}' of yours", name));
  }
  if (!engine_.forget({name, tenant, false, {}})) {
    return openai::overloaded("the engine's queue is full; try again", kRetryAfterSeconds);
  }
  tokens_total_ -= found->second.tokens;
  entries_.erase(found);
  return std::nullopt;
}

absl::StatusOr<std::int64_t> Corpora::preload(const std::string& path, const openai::RequestLimits& limits) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(fmt::format("--speculation-corpus {}: cannot be read", path));
  }
  std::vector<std::vector<TokenId>> sequences;
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    openai::Result<openai::CorpusText> text = openai::parse_corpus_line(line, limits);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("--speculation-corpus {}, line {}: {}", path, number, text.error().message));
    }
    openai::Result<std::vector<std::vector<TokenId>>> tokens = to_tokens({std::move(text.value())});
    if (!tokens.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("--speculation-corpus {}, line {}: {}", path, number, tokens.error().message));
    }
    sequences.push_back(std::move(tokens.value().front()));
  }
  openai::CorpusCard card;
  const std::string name = std::filesystem::path(path).stem().string();
  if (const openai::MaybeError error = hand_over({true, "", name}, std::move(sequences), card)) {
    return absl::ResourceExhaustedError(fmt::format("--speculation-corpus {}: {}", path, error->message));
  }
  return card.tokens;
}

}  // namespace coppice::server
