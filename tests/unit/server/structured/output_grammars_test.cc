// From a request's format to its grammar: one compile for all, refusals, threads that end.
#include "server/structured/output_grammars.h"

#include <catch2/catch.hpp>
#include <future>

#include "server/structured/grammar_trial.h"
#include "tests/unit/text/grammar/byte_tokenizer.h"

namespace coppice::server {
namespace {

using openai::OutputFormat;
using openai::OutputFormatKind;
using Order = std::shared_ptr<const GrammarOrder>;

Order order_of(OutputFormatKind kind, std::string text, bool strict = false) {
  return OutputGrammars::order({kind, std::move(text), {}, strict, "response_format", "answer"}).value();
}

struct Fixture {
  text::ByteTokenizer tokenizer;
  OutputGrammars grammars{tokenizer, tokenizer.vocab_size(), tokenizer.end_tokens()};

  OutputGrammars::Grammar get(const Order& order) {
    std::promise<OutputGrammars::Grammar> promise;
    grammars.get(order, "tenant",
                 [&promise](OutputGrammars::Grammar grammar) { promise.set_value(std::move(grammar)); });
    return promise.get_future().get();
  }
};

TEST_CASE("a grammar is compiled once and then found") {
  Fixture fixture;
  const Order order = order_of(OutputFormatKind::kJsonSchema, R"({"type":"null"})");
  CHECK(fixture.grammars.find(*order) == nullptr);
  CHECK(fixture.get(order).ok());
  CHECK(fixture.get(order).ok());
  CHECK(fixture.grammars.get(order).ok());
  CHECK(fixture.grammars.find(*order_of(OutputFormatKind::kJsonSchema, R"( {"type" : "null"} )")) != nullptr);
  const GrammarNumbers numbers = fixture.grammars.numbers();
  CHECK(numbers.compiles == 1);
  CHECK(numbers.hits == 3);
  CHECK(numbers.failures == 0);
  CHECK(numbers.cached == 1);
  CHECK(numbers.cache_bytes > 0);
  CHECK(numbers.compile_ns > 0);
}

TEST_CASE("every kind of format becomes a grammar") {
  Fixture fixture;
  CHECK(fixture.get(order_of(OutputFormatKind::kJsonObject, "")).ok());
  CHECK(fixture.get(order_of(OutputFormatKind::kRegex, "a+")).ok());
  CHECK(fixture.get(order_of(OutputFormatKind::kGrammar, "root ::= \"a\"")).ok());
  CHECK(fixture
            .get(order_of(OutputFormatKind::kStructuralTag,
                          R"({"type":"structural_tag","format":{"type":"const_string","value":"a"}})"))
            .ok());
  CHECK(fixture.get(OutputGrammars::order({OutputFormatKind::kChoice, "", {"a", "b"}, false, "f", ""}).value()).ok());
}

TEST_CASE("a refusal names field, schema, pointer and keyword") {
  Fixture fixture;
  const std::string schema = R"({"properties":{"a b":{"type":"array","uniqueItems":true}}})";
  const auto refused = fixture.get(order_of(OutputFormatKind::kJsonSchema, schema, true));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 400);
  CHECK(refused.error().param == "response_format");
  CHECK(refused.error().code == "invalid_value");
  CHECK(refused.error().message.rfind("Invalid schema for response_format 'answer': #/properties/a b: `uniqueItems`",
                                      0) == 0);
  const auto loose = fixture.get(order_of(OutputFormatKind::kJsonSchema, schema));
  REQUIRE(loose.ok());
  CHECK(unenforced_header(loose.value()->grammar().unenforced()) == "#/properties/a%20b uniqueItems");

  const auto regex = fixture.get(order_of(OutputFormatKind::kRegex, "(?=a)b"));
  REQUIRE_FALSE(regex.ok());
  CHECK(regex.error().message.rfind("'response_format': ", 0) == 0);
  CHECK(fixture.grammars.numbers().failures == 2);
}

TEST_CASE("a format of more bytes than a schema may have is refused before anything reads it") {
  const std::string text(std::size_t{600} << 10U, ' ');
  const auto refused = OutputGrammars::order({OutputFormatKind::kJsonSchema, text, {}, false, "guided_json", ""});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 400);
  CHECK(refused.error().param == "guided_json");
  CHECK(refused.error().message.find("614400 bytes; at most 524288") != std::string::npos);
}

TEST_CASE("a vocabulary that does not fit the model: every format is refused") {
  const text::ByteTokenizer tokenizer;
  OutputGrammars grammars(tokenizer, tokenizer.vocab_size() - 1, tokenizer.end_tokens());
  const auto refused = grammars.get(order_of(OutputFormatKind::kJsonObject, ""));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 400);
}

TEST_CASE("a grammar whose masks take longer than they may is refused") {
  Fixture fixture;
  const auto grammar = fixture.get(order_of(OutputFormatKind::kRegex, "[a-z]{1,9}"));
  REQUIRE(grammar.ok());
  const text::CompiledGrammar& compiled = grammar.value()->grammar();
  CHECK(try_masks(compiled, fixture.tokenizer).ok());
  const absl::Status slow = try_masks(compiled, fixture.tokenizer, std::chrono::nanoseconds(1));
  CHECK(absl::IsOutOfRange(slow));
  CHECK(std::string(slow.message()).find("too many ways") != std::string::npos);
}

TEST_CASE("after the end none waits") {
  Fixture fixture;
  fixture.grammars.close();
  const auto refused = fixture.get(order_of(OutputFormatKind::kRegex, "a"));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 503);
}

}  // namespace
}  // namespace coppice::server
