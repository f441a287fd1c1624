// The small tokenizers of tests/unit/text/tokenizer/fixtures, one of every kind we load.
// Made by tools/make_tokenizer_fixtures.py.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "tests/support/source_folder.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

inline constexpr std::array<std::string_view, 9> kFixtureNames = {
    "gpt2",   "llama3",     "qwen2", "sentencepiece_bpe", "sentencepiece_new", "sentencepiece_unigram",
    "llama2", "llama2_new", "odd"};

inline std::string fixture_path(std::string_view name) {
  return coppice::test::source_path("tests/unit/text/tokenizer/fixtures/") + std::string(name);
}

// Throws when it does not load.
inline std::unique_ptr<Tokenizer> load_fixture(std::string_view name) {
  return load_tokenizer(fixture_path(name)).value();
}

}  // namespace coppice::text
