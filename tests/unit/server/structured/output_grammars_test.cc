// From a request's format to its grammar: one compile for all, refusals, threads that end.
#include "server/structured/output_grammars.h"

#include <catch2/catch.hpp>
#include <future>
#include <thread>

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

TEST_CASE("a grammar with too many ways to read one text is refused, whatever it costs to find out") {
  Fixture fixture;
  const std::pair<OutputFormatKind, std::string> rows[] = {
      {OutputFormatKind::kGrammar, "root ::= s\ns ::= s s | [a-z] | \"\""},
      {OutputFormatKind::kGrammar, "root ::= s\ns ::= s s | [a-z]"},
      {OutputFormatKind::kGrammar, "root ::= ((\"a\"{0,2000}){0,2000}){0,2000}"},
      {OutputFormatKind::kGrammar, "root ::= a{0,2000}\na ::= b{0,2000}\nb ::= \"x\"{0,2000}"},
      {OutputFormatKind::kStructuralTag,
       R"({"type":"structural_tag","format":{"type":"repeat","min":0,"max":2000,"content":{"type":"repeat","min":0,)"
       R"("max":2000,"content":{"type":"repeat","min":0,"max":2000,"content":{"type":"const_string","value":"ab"}}}}})"},
  };
  for (const auto& [kind, text] : rows) {
    CAPTURE(text);
    const std::chrono::nanoseconds begin = thread_time();
    const auto refused = fixture.grammars.get(order_of(kind, text));
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().status == 400);
    CHECK(refused.error().message.find("too many ways") != std::string::npos);
    CHECK(thread_time() - begin < std::chrono::seconds(20));  // none ended within minutes before
  }
  for (const char* text : {"root ::= s\ns ::= s [a-z] | \"\"", "root ::= s\ns ::= [a-z] s | \"\"",
                           "root ::= (\"a\" | \"ab\" | \"b\")*", "root ::= \"(\" root \")\" | \"x\""}) {
    CAPTURE(text);
    CHECK(fixture.grammars.get(order_of(OutputFormatKind::kGrammar, text)).ok());
  }
}

TEST_CASE("a compile that runs ends soon after the close") {
  std::vector<std::string> words;  // with 50,000 of them it takes seconds
  for (int i = 0; i < 50'000; ++i) {
    words.push_back("word" + std::to_string(i * 7919));
  }
  const text::ByteTokenizer tokenizer(words);
  OutputGrammars grammars(tokenizer, tokenizer.vocab_size(), tokenizer.end_tokens());
  std::promise<OutputGrammars::Grammar> promise;
  grammars.get(order_of(OutputFormatKind::kRegex, ".{0,390}x"), "tenant",
               [&promise](OutputGrammars::Grammar grammar) { promise.set_value(std::move(grammar)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto begin = std::chrono::steady_clock::now();
  grammars.close();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  const auto refused = promise.get_future().get();
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().status == 503);
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
