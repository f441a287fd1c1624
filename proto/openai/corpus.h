// Corpora: texts that a client hands over for the server to draft from (speculation), on routes of our own:
//   POST   /v1/speculation/corpora        {"name", "texts": ["…"] | "tokens": [[1, 2], …]}
//   GET    /v1/speculation/corpora
//   DELETE /v1/speculation/corpora/{name}
// and lines of a file of them: {"text": "…"} or {"tokens": [1, 2]}.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/openai/request.h"

namespace coppice::openai {

inline constexpr std::size_t kCorpusNameMax = 128;  // bytes: a name stands in paths and logs

// One text, or its tokens.
using CorpusText = std::variant<std::string, std::vector<TokenId>>;

struct CorpusRequest {
  std::string name;        // 1 to 128 of letters, digits, '.', '_', '-'
  std::string cache_salt;  // of the requests that shall draft from it
  std::vector<CorpusText> texts;
};

// ERRORS: 400 with the field in `param`; 413.
Result<CorpusRequest> parse_corpus_request(std::string_view body, const RequestLimits& limits);

// One line of a corpus file. ERRORS: as above.
Result<CorpusText> parse_corpus_line(std::string_view line, const RequestLimits& limits);

struct CorpusCard {
  std::string name;
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;
  bool shared = false;  // everybody's; not the caller's to drop
};
std::string write_corpus(const CorpusCard& card);
std::string write_corpus_list(std::span<const CorpusCard> cards);
std::string write_corpus_deleted(std::string_view name);

}  // namespace coppice::openai
