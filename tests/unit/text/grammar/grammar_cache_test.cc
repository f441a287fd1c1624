// The cache of compiled grammars: one compile for all, a bound on bytes, errors that are not kept.
#include "text/grammar/grammar_cache.h"

#include <catch2/catch.hpp>
#include <future>
#include <thread>
#include <vector>

#include "tests/unit/text/grammar/byte_tokenizer.h"

namespace coppice::text {
namespace {

constexpr std::size_t kLarge = std::size_t{1} << 30;  // more than all grammars of a test

struct Fixture {
  ByteTokenizer tokenizer;
  std::unique_ptr<GrammarCompiler> compiler =
      GrammarCompiler::create(tokenizer, tokenizer.vocab_size(), tokenizer.end_tokens()).value();
};

// The grammar of `spec`, compiled here unless it is kept or another thread compiles it.
absl::StatusOr<CompiledGrammar> get(GrammarCache& cache, const GrammarCompiler& compiler, const GrammarSpec& spec) {
  std::promise<absl::StatusOr<CompiledGrammar>> promise;
  const std::string key = canonical_text(spec);
  if (cache.join(key, [&](const auto& result) { promise.set_value(result); })) {
    cache.finish(key, compiler.compile(spec));
  }
  return promise.get_future().get();
}

GrammarSpec schema(std::string text) {
  return {GrammarKind::kJsonSchema, std::move(text), {}, false};
}

TEST_CASE("specs that differ in white space only are the same, others are not") {
  CHECK(canonical_text(schema(R"({ "type" : "null" })")) == canonical_text(schema(R"({"type":"null"})")));
  CHECK(canonical_text(schema(R"({"properties":{"a":{},"b":{}}})")) !=
        canonical_text(schema(R"({"properties":{"b":{},"a":{}}})")));
  GrammarSpec strict = schema("{}");
  strict.strict = true;
  CHECK(canonical_text(strict) != canonical_text(schema("{}")));
  CHECK(canonical_text({GrammarKind::kChoice, "", {"a", "b"}, false}) !=
        canonical_text({GrammarKind::kChoice, "", {"a1:b"}, false}));
  CHECK(canonical_text({GrammarKind::kRegex, "[a]", {}, false}) !=
        canonical_text({GrammarKind::kRegex, "[ a]", {}, false}));
}

TEST_CASE("many threads that want the same get one compile") {
  Fixture fixture;
  GrammarCache cache(kLarge);
  // Large enough that the threads meet while it compiles.
  std::string properties = R"("first":{})";
  for (int i = 0; i < 200; ++i) {
    properties.append(R"(,"property)").append(std::to_string(i)).append(R"(":{"type":"string","maxLength":9})");
  }
  const GrammarSpec spec = schema(R"({"properties":{)" + properties + "}}");
  std::vector<std::thread> threads;
  std::vector<int> is_ok(8, 0);
  for (std::size_t i = 0; i < is_ok.size(); ++i) {
    threads.emplace_back([&, i] { is_ok[i] = get(cache, *fixture.compiler, spec).ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(is_ok == std::vector<int>(8, 1));
  CHECK(cache.counts().compiles == 1);
  CHECK(cache.counts().hits == 7);
}

TEST_CASE("the grammars used last stay within the bytes") {
  Fixture fixture;
  GrammarCache sizes(kLarge);
  const GrammarSpec first = schema(R"({"enum":["a"]})");
  const GrammarSpec second = schema(R"({"enum":["b"]})");
  const GrammarSpec third = schema(R"({"enum":["c"]})");
  REQUIRE(get(sizes, *fixture.compiler, first).ok());
  const std::size_t one = sizes.counts().bytes;
  REQUIRE(one > 0);

  GrammarCache cache(2 * one + one / 2);
  REQUIRE(get(cache, *fixture.compiler, first).ok());
  REQUIRE(get(cache, *fixture.compiler, second).ok());
  REQUIRE(get(cache, *fixture.compiler, first).ok());
  REQUIRE(get(cache, *fixture.compiler, third).ok());  // the second goes
  CHECK(cache.counts().grammars == 2);
  CHECK(cache.counts().bytes <= 2 * one + one / 2);
  CHECK(cache.counts().compiles == 3);
  REQUIRE(get(cache, *fixture.compiler, first).ok());
  CHECK(cache.counts().compiles == 3);
  REQUIRE(get(cache, *fixture.compiler, second).ok());
  CHECK(cache.counts().compiles == 4);

  GrammarCache tiny(1);
  REQUIRE(get(tiny, *fixture.compiler, first).ok());
  CHECK(tiny.counts().grammars == 0);
  CHECK(tiny.counts().bytes == 0);
}

TEST_CASE("all who joined hear the one result, those who come later find it") {
  Fixture fixture;
  GrammarCache cache(kLarge);
  const GrammarSpec spec = schema(R"({"type":"null"})");
  const std::string key = canonical_text(spec);
  int heard = 0;
  const auto count = [&heard](const auto& result) { heard += result.ok() ? 1 : 100; };
  CHECK_FALSE(cache.find(key).has_value());
  CHECK(cache.join(key, count));
  CHECK_FALSE(cache.join(key, count));
  CHECK(heard == 0);
  cache.finish(key, fixture.compiler->compile(spec));
  CHECK(heard == 2);
  CHECK_FALSE(cache.join(key, count));
  CHECK(heard == 3);
  CHECK(cache.find(key).has_value());
  CHECK(cache.counts().compiles == 1);
  CHECK(cache.counts().hits == 3);
}

TEST_CASE("an error is not kept") {
  Fixture fixture;
  GrammarCache cache(kLarge);
  CHECK_FALSE(get(cache, *fixture.compiler, schema("false")).ok());
  CHECK_FALSE(get(cache, *fixture.compiler, schema("false")).ok());
  CHECK(cache.counts().compiles == 2);
  CHECK(cache.counts().failures == 2);
  CHECK(cache.counts().grammars == 0);
}

}  // namespace
}  // namespace coppice::text
