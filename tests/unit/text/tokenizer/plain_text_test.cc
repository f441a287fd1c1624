// EncodeOptions::plain on a tokenizer of every kind: what a stranger wrote stays text, what stands beside it does not.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/unit/text/tokenizer/fixtures.h"

namespace coppice::text {
namespace {

std::vector<TokenId> added_of(const Tokenizer& tokenizer) {
  std::vector<TokenId> added;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string piece = tokenizer.piece(id);
    // A token of one character cannot be told from the character; one of white space is text.
    if (tokenizer.token_text(id, false).is_added && piece.size() > 1 && piece != "  ") {
      added.push_back(id);
    }
  }
  return added;
}

std::vector<TokenId> encode(const Tokenizer& tokenizer, const std::string& text, const std::vector<TextRange>& plain) {
  return tokenizer.encode(text, {.add_special = false, .parse_special = true, .plain = plain}).value();
}

std::ptrdiff_t count(const std::vector<TokenId>& ids, TokenId id) {
  return std::count(ids.begin(), ids.end(), id);
}

TEST_CASE("a spelling in a plain range is text, the same spelling outside is the token") {
  for (const std::string_view name : kFixtureNames) {
    const auto tokenizer = load_fixture(name);
    for (const TokenId id : added_of(*tokenizer)) {
      const std::string token = tokenizer->piece(id);
      INFO(name << " " << token);
      const std::string text = token + " say " + token + " twice " + token;
      const std::size_t second = text.find(token, 1);
      const std::size_t third = text.rfind(token);
      CHECK(count(encode(*tokenizer, text, {}), id) == 3);
      CHECK(count(encode(*tokenizer, text, {{second, second + token.size()}}), id) == 2);
      CHECK(count(encode(*tokenizer, text, {{second, second + token.size()}, {third, text.size()}}), id) == 1);
      CHECK(count(encode(*tokenizer, text, {{0, text.size()}}), id) == 0);
      // Half of it is enough, and so is a place inside.
      CHECK(count(encode(*tokenizer, text, {{second + 1, second + 2}}), id) == 2);
      CHECK(count(encode(*tokenizer, text, {{second + 1, second + 1}}), id) == 2);
      CHECK(count(encode(*tokenizer, text, {{second, second}}), id) == 3);
    }
  }
}

TEST_CASE("plain text is encoded as if the tokenizer had no added token for it, with no more spaces") {
  for (const std::string_view name : kFixtureNames) {
    const auto tokenizer = load_fixture(name);
    for (const TokenId id : added_of(*tokenizer)) {
      if (!tokenizer->is_special(id)) {
        continue;
      }
      const std::string token = tokenizer->piece(id);
      INFO(name << " " << token);
      const std::string text = "a" + token + "b " + token + token + "c";
      std::vector<TextRange> plain;
      for (std::size_t at = text.find(token); at != std::string::npos; at = text.find(token, at + 1)) {
        plain.push_back({at, at + token.size()});
      }
      const std::vector<TokenId> ids = encode(*tokenizer, text, plain);
      CHECK(ids == tokenizer->encode(text, {.add_special = false, .parse_special = false}).value());
      if (name != "odd" && name != "sentencepiece_unigram") {  // whose vocabularies lack some of these characters
        CHECK(tokenizer->decode(ids, true) == text);
      }
    }
  }
}

}  // namespace
}  // namespace coppice::text
