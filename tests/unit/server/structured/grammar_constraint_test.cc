// A grammar as the engine asks it: tokens, drafts, masks, forced tokens.
#include "server/structured/grammar_constraint.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/text/grammar/byte_tokenizer.h"

namespace coppice::server {
namespace {

using text::ByteTokenizer;
using Tokens = std::vector<TokenId>;

struct Fixture {
  ByteTokenizer tokenizer{{"true", "fals"}};
  std::unique_ptr<text::GrammarCompiler> compiler =
      text::GrammarCompiler::create(tokenizer, tokenizer.vocab_size() + 5, tokenizer.end_tokens()).value();

  std::unique_ptr<engine::TokenConstraint> begin(std::string expression) const {
    const GrammarSource source(compiler->compile({text::GrammarKind::kRegex, std::move(expression)}).value());
    return source.begin().value();
  }
};

bool has(std::span<const std::uint32_t> mask, TokenId token) {
  return (mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1U) != 0;
}

TEST_CASE("a sequence takes what its grammar allows, and names what it does not") {
  const Fixture fixture;
  const auto constraint = fixture.begin("true|false");
  const absl::Status refused = constraint->accept('x');
  CHECK(absl::IsInvalidArgument(refused));
  CHECK(std::string(refused.message()).find("120") != std::string::npos);
  CHECK(constraint->accept(ByteTokenizer::kByteCount).ok());
  CHECK(absl::IsInvalidArgument(constraint->accept('e')));
  CHECK(constraint->accept(fixture.tokenizer.end_tokens()[0]).ok());
}

TEST_CASE("drafts are checked and masked, and leave the sequence where it is") {
  const Fixture fixture;
  const auto constraint = fixture.begin("a(b|c)d");
  const std::vector<std::int32_t> parents = {-1, 0, 1, 0, -1, 4};
  const Tokens tokens = {'a', 'b', 'd', 'x', 'y', 'b'};
  std::vector<std::uint8_t> allowed(tokens.size(), 7);
  REQUIRE(constraint->check_draft({parents, tokens}, allowed).ok());
  CHECK(allowed == std::vector<std::uint8_t>{1, 1, 1, 0, 0, 0});

  // A mask may have more words than the vocabulary needs.
  constexpr std::size_t kNodes = 3;
  constexpr std::size_t kWords = 12;
  const engine::DraftNodes draft = {std::span(parents).first(kNodes), std::span(tokens).first(kNodes)};
  std::vector<std::uint32_t> masks((1 + kNodes) * kWords, ~0U);
  std::vector<std::uint8_t> limited(1 + kNodes, 0);
  REQUIRE(constraint->fill_masks(draft, masks, limited).ok());
  CHECK(limited == std::vector<std::uint8_t>{1, 1, 1, 1});
  const Tokens expected[] = {{'a'}, {'b', 'c'}, {'d'}, fixture.tokenizer.end_tokens()};
  for (std::size_t entry = 0; entry < 1 + kNodes; ++entry) {
    CAPTURE(entry);
    const auto mask = std::span(masks).subspan(entry * kWords, kWords);
    Tokens found;
    for (TokenId token = 0; token < static_cast<TokenId>(kWords * 32); ++token) {
      if (has(mask, token)) {
        found.push_back(token);
      }
    }
    CHECK(found == expected[entry]);
  }
  CHECK(constraint->accept('a').ok());
}

TEST_CASE("without a draft there is one mask") {
  const Fixture fixture;
  const auto constraint = fixture.begin("[01]");
  std::vector<std::uint32_t> mask(9);
  std::vector<std::uint8_t> limited(1);
  REQUIRE(constraint->fill_masks({}, mask, limited).ok());
  CHECK(has(mask, '0'));
  CHECK_FALSE(has(mask, '2'));
  CHECK(constraint->check_draft({}, {}).ok());
}

TEST_CASE("choices of a request stand apart; forced text comes as tokens") {
  const Fixture fixture;
  const GrammarSource source(fixture.compiler->compile({text::GrammarKind::kRegex, "true1|true2"}).value());
  const auto first = source.begin().value();
  const auto second = source.begin().value();
  CHECK(first->forced_tokens().value() == Tokens{ByteTokenizer::kByteCount});
  REQUIRE(first->accept(ByteTokenizer::kByteCount).ok());
  CHECK(first->forced_tokens().value().empty());
  CHECK(second->forced_tokens().value() == Tokens{ByteTokenizer::kByteCount});
}

TEST_CASE("a sequence whose grammar has too many ways to read its text fails, at the same token always") {
  const Fixture fixture;
  std::vector<int> failed_at;
  for (int run = 0; run < 2; ++run) {
    const GrammarSource source(
        fixture.compiler->compile({text::GrammarKind::kEbnf, "root ::= s\ns ::= s s | [a-z]"}).value());
    const auto constraint = source.begin().value();
    absl::Status status;
    int accepted = 0;
    for (; status.ok() && accepted < 5000; ++accepted) {
      status = constraint->accept('a');
    }
    CHECK(absl::IsResourceExhausted(status));
    failed_at.push_back(accepted);
  }
  CHECK(failed_at[0] > 50);
  CHECK(failed_at[0] == failed_at[1]);
}

TEST_CASE("a draft that would take long to check is left out, and the sequence goes on") {
  const Fixture fixture;
  const GrammarSource source(
      fixture.compiler->compile({text::GrammarKind::kEbnf, "root ::= s\ns ::= s s | [a-z]"}).value());
  const auto constraint = source.begin().value();
  const std::vector<std::int32_t> parents(64, -1);
  const Tokens tokens(64, 'a');
  std::vector<std::uint8_t> allowed(64, 0);
  REQUIRE(constraint->check_draft({parents, tokens}, allowed).ok());
  CHECK(allowed == std::vector<std::uint8_t>(64, 1));
  for (int i = 0; i < 100; ++i) {
    REQUIRE(constraint->accept('a').ok());
  }
  REQUIRE(constraint->check_draft({parents, tokens}, allowed).ok());
  CHECK(allowed == std::vector<std::uint8_t>(64, 0));
  CHECK(constraint->accept('a').ok());
}

}  // namespace
}  // namespace coppice::server
