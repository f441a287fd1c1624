// Expected ids and texts, made by tools/make_tokenizer_fixtures.py with Hugging Face's libraries, and the comparison
// with our tokenizers. Long lists are stored as hashes (FNV-1a, 64 bit) to keep the files small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

// A list of ids, or only its hash.
struct ExpectedIds {
  std::vector<TokenId> ids;
  std::uint64_t hash = 0;
};

struct ExpectedText {
  ExpectedIds plain;              // encode with add_special, without parse_special
  ExpectedIds parsed;             // encode without add_special, with parse_special
  std::uint64_t shown_hash = 0;   // decode of `parsed`, special tokens shown
  std::uint64_t hidden_hash = 0;  // and skipped
};

struct ExpectedDecoding {
  std::vector<TokenId> ids;
  bool skip_special = false;
  std::string text;
};

struct Expectations {
  std::vector<std::string> corpus;
  std::vector<ExpectedText> texts;  // of the corpus, in order
  std::vector<ExpectedDecoding> decodings;
  std::int32_t bos = -1;
  std::int32_t eos = -1;
};

struct Comparison {
  std::size_t count = 0;
  std::size_t mismatch_count = 0;
  std::vector<std::string> mismatches;  // the first few, described
};

// `corpus_path`: the JSON list of strings, when the expectations do not hold it. Throws when a file is not as it should
// be.
Expectations read_expectations(const std::string& path, const std::string& corpus_path);

Comparison compare(const Tokenizer& tokenizer, const Expectations& expected, std::size_t shown_max);

}  // namespace coppice::text
