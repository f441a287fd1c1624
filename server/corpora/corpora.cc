// Corpora: bounds, tokenising, and telling the engine.
#include "server/corpora/corpora.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "proto/openai/api_error.h"

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 1;  // soon: one step of the engine may empty its queue
// Of --speculation-corpus: more text than trees of 100 GB hold.
constexpr std::size_t kCorpusFileBytesMax = std::size_t{4} << 30;

openai::ApiError too_much(const char* param, std::string message) {
  openai::ApiError error = openai::bad_value(param, std::move(message));
  error.status = 413;
  return error;
}

}  // namespace

openai::Result<std::vector<std::vector<TokenId>>> Corpora::to_tokens(const std::vector<openai::CorpusText>& texts,
                                                                     const JobContext& job) const {
  std::vector<std::vector<TokenId>> sequences;
  sequences.reserve(texts.size());
  std::size_t bytes = 0;
  for (const openai::CorpusText& text : texts) {
    if (const auto* const tokens = std::get_if<std::vector<TokenId>>(&text)) {
      if (tokens->empty()) {
        return openai::bad_value("tokens", "'tokens' must hold arrays that are not empty");
      }
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
    openai::Result<TokenIds> tokens = encoder_.encode_output("texts", string, job);
    if (!tokens.ok()) {
      return std::move(tokens.error());
    }
    if (tokens.value().empty()) {
      return openai::bad_value("texts", "'texts' must hold strings that have tokens; one has none");
    }
    sequences.push_back(std::move(tokens.value()));
  }
  return sequences;
}

Corpora::UsePtr Corpora::use_of(const Key& key) {
  UsePtr& use = uses_[std::string(key_part(key.tenant))];
  if (use == nullptr) {
    use = std::make_shared<Use>();
  }
  return use;
}

openai::MaybeError Corpora::refusal(const Key& key, const Use& use, const Entry& more) const {
  const auto shares = key.everyones ? 1 : static_cast<std::int64_t>(keys_.shares());
  const std::int64_t tokens_max = (limits_.tokens_max - (key.everyones ? 0 : everyones_.tokens)) / shares;
  const std::int64_t sequences_max = (limits_.sequences_max - (key.everyones ? 0 : everyones_.sequences)) / shares;
  if (!entries_.contains(key) && use.corpora >= limits_.corpora_max) {
    return too_much("name", fmt::format("you have {} corpora already; drop one first", limits_.corpora_max));
  }
  const Entry& held = key.everyones ? everyones_ : use.listed;
  if (more.tokens > tokens_max - held.tokens) {
    return too_much("texts", fmt::format("your corpora may hold {} tokens in all, {} are left; got {}", tokens_max,
                                         std::max<std::int64_t>(tokens_max - held.tokens, 0), more.tokens));
  }
  if (more.sequences > sequences_max - held.sequences) {
    return too_much("texts",
                    fmt::format("your corpora may hold {} sequences in all, {} are left; got {}", sequences_max,
                                std::max<std::int64_t>(sequences_max - held.sequences, 0), more.sequences));
  }
  // It would fit, were what is dropped gone already; or the engine has not even seen the calls before.
  if (!key.everyones && (more.tokens > tokens_max - use.tokens || more.sequences > sequences_max - use.sequences ||
                         use.calls >= limits_.calls_max)) {
    return openai::overloaded("your earlier calls are still at work; try again", kRetryAfterSeconds);
  }
  return std::nullopt;
}

openai::MaybeError Corpora::hand_over(const Key& key, std::vector<std::vector<TokenId>> sequences,
                                      openai::CorpusCard& card) {
  Entry more;
  for (const std::vector<TokenId>& sequence : sequences) {
    const auto tokens = static_cast<std::int64_t>(sequence.size());
    if (tokens > limits_.sequence_tokens_max) {
      return too_much("tokens",
                      fmt::format("a sequence may have {} tokens; got {}", limits_.sequence_tokens_max, tokens));
    }
    more.tokens += tokens;
  }
  more.sequences = static_cast<std::int64_t>(sequences.size());
  const std::lock_guard<std::mutex> lock(mutex_);
  const UsePtr use = use_of(key);
  if (openai::MaybeError error = refusal(key, *use, more)) {
    return error;
  }
  engine::Corpus corpus{key.name, key.tenant, key.everyones, std::move(sequences), {}, {}};
  if (!key.everyones) {
    use->tokens += more.tokens;
    use->sequences += more.sequences;
    corpus.while_kept = engine::Receipt([use, more] {
      use->tokens -= more.tokens;
      use->sequences -= more.sequences;
    });
    ++use->calls;
    corpus.until_taken = engine::Receipt([use] { --use->calls; });
  }
  if (!engine_.learn(std::move(corpus))) {
    return openai::overloaded("the engine's queue is full; try again", kRetryAfterSeconds);
  }
  const auto [found, is_new] = entries_.try_emplace(key);
  Entry& entry = found->second;
  for (Entry* const sum : {&entry, key.everyones ? &everyones_ : &use->listed}) {
    sum->sequences += more.sequences;
    sum->tokens += more.tokens;
  }
  use->corpora += is_new ? 1 : 0;
  card = {key.name, entry.sequences, entry.tokens, key.everyones};
  return std::nullopt;
}

openai::Result<openai::CorpusCard> Corpora::add(const std::string& tenant, const openai::CorpusRequest& request,
                                                const JobContext& job) {
  openai::Result<std::vector<std::vector<TokenId>>> sequences = to_tokens(request.texts, job);
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
  const auto add = [&cards](const auto& item) {
    cards.push_back({item.first.name, item.second.sequences, item.second.tokens, item.first.everyones});
  };
  auto at = entries_.lower_bound({false, tenant, ""});
  for (; at != entries_.end() && !at->first.everyones && at->first.tenant == tenant; ++at) {
    add(*at);
  }
  std::for_each(entries_.lower_bound({true, "", ""}), entries_.end(), add);
  return cards;
}

openai::MaybeError Corpora::drop(const std::string& tenant, const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find({false, tenant, name});
  if (found == entries_.end()) {
    return openai::not_found("name", "corpus_not_found", fmt::format("there is no corpus '{}' of yours", name));
  }
  if (use_of(found->first)->calls >= limits_.calls_max || !tell_to_forget(found->first)) {
    return openai::overloaded("your earlier calls are still at work; try again", kRetryAfterSeconds);
  }
  erase(found);
  return std::nullopt;
}

bool Corpora::tell_to_forget(const Key& key) {
  const UsePtr use = use_of(key);
  ++use->calls;
  return engine_.forget({key.name, key.tenant, key.everyones, {}, {}, engine::Receipt([use] { --use->calls; })});
}

void Corpora::erase(std::map<Key, Entry>::iterator found) {
  const UsePtr use = use_of(found->first);
  --use->corpora;
  use->listed.tokens -= found->second.tokens;
  use->listed.sequences -= found->second.sequences;
  entries_.erase(found);
}

void Corpora::drop_keys(const std::vector<std::string>& key_tenants) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto found = at++;
    const bool is_theirs =
        !found->first.everyones && std::ranges::find(key_tenants, key_part(found->first.tenant)) != key_tenants.end();
    if (is_theirs && tell_to_forget(found->first)) {  // else it stays, out of reach and counted for a key that is gone
      erase(found);
    }
  }
}

absl::StatusOr<std::int64_t> Corpora::preload(const std::string& path, const openai::RequestLimits& limits) {
  const absl::StatusOr<std::string> file = base::read_file(path, kCorpusFileBytesMax);
  if (!file.ok()) {
    return absl::Status(file.status().code(),
                        fmt::format("--speculation-corpus {}", std::string(file.status().message())));
  }
  std::vector<std::vector<TokenId>> sequences;
  std::string_view left = *file;
  for (std::int64_t number = 1; !left.empty(); ++number) {
    const std::string_view line = left.substr(0, left.find('\n'));
    left.remove_prefix(std::min(line.size() + 1, left.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      continue;
    }
    openai::Result<openai::CorpusText> text = openai::parse_corpus_line(line, limits);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("--speculation-corpus {}, line {}: {}", path, number, text.error().message));
    }
    openai::Result<std::vector<std::vector<TokenId>>> tokens = to_tokens({std::move(text.value())}, {});
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
