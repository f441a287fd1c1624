// Corpora: what is taken, what is refused, and that no key's corpora take from another key's share.
#include "server/corpora/corpora.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/scripted_engine.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using Tokens = std::vector<TokenId>;

CorporaLimits small_limits() {
  CorporaLimits limits;
  limits.tokens_max = 100;
  limits.sequences_max = 20;
  limits.corpora_max = 4;
  limits.sequence_tokens_max = 30;
  limits.calls_max = 3;
  return limits;
}

struct World {
  explicit World(const char* key_lines = "the-key-of-a\nthe-key-of-b\n")
      : keys(*key_lines == 0 ? ApiKeys() : std::move(ApiKeys::parse(key_lines, "keys").value())) {}

  // Status of adding `sequences` texts of `tokens` tokens each; 200 when they were added.
  int add(const std::string& tenant, const std::string& name, std::size_t sequences, std::size_t tokens) {
    openai::CorpusRequest request{name, "", {}};
    request.texts.assign(sequences, Tokens(tokens, 2));
    const openai::Result<openai::CorpusCard> card = corpora.add(tenant, request);
    return card.ok() ? 200 : card.error().status;
  }
  int drop(const std::string& tenant, const std::string& name) {
    const openai::MaybeError error = corpora.drop(tenant, name);
    return error ? error->status : 200;
  }
  // The engine takes the calls it was sent; with `forgotten` it has also removed what was dropped.
  void step(bool forgotten) {
    for (engine::Corpus& corpus : engine.learned) {
      corpus.until_taken = {};
    }
    if (forgotten) {
      for (const engine::Corpus& gone : engine.forgotten) {
        std::erase_if(engine.learned, [&gone](const engine::Corpus& corpus) {
          return corpus.name == gone.name && corpus.tenant == gone.tenant;
        });
      }
    }
    engine.forgotten.clear();
  }

  const std::string a = tenant_of_key("the-key-of-a");
  const std::string b = tenant_of_key("the-key-of-b");
  ApiKeys keys;
  text::TestTokenizer tokenizer{{"a", "b"}};
  openai::RequestLimits request_limits;
  engine::ScriptedEngine engine;
  Corpora corpora{engine, PromptEncoder(tokenizer, nullptr, request_limits), keys, small_limits()};
};

}  // namespace

TEST_CASE("one key's corpora never make another's be refused", "[corpora]") {
  World world;
  CHECK(world.add(world.a, "one", 2, 25) == 200);  // its half of 100 tokens
  CHECK(world.add(world.a, "one", 1, 1) == 413);
  CHECK(world.add(world.a + "|a salt of its own", "two", 1, 1) == 413);  // a salt is no key
  world.step(false);
  CHECK(world.add(world.b, "one", 2, 25) == 200);
  CHECK(world.corpora.list(world.a).size() == 1);
  CHECK(world.corpora.list(world.b)[0].tokens == 50);
}

TEST_CASE("sequences count, not only their tokens", "[corpora]") {
  World world;
  CHECK(world.add(world.a, "c", 11, 1) == 413);
  CHECK(world.add(world.a, "c", 10, 1) == 200);
  CHECK(world.add(world.a, "c", 1, 1) == 413);
  CHECK(world.add(world.a, "d", 1, 0) == 400);
  CHECK(world.add(world.b, "c", 1, 31) == 413);  // one sequence too long
  openai::CorpusRequest request{"c", "", {std::string()}};
  CHECK(world.corpora.add(world.b, request).error().status == 400);
}

TEST_CASE("names count by key, over all its salts", "[corpora]") {
  World world;
  for (int i = 0; i < 4; ++i) {
    CHECK(world.add(world.a + "|" + std::to_string(i), "c", 1, 1) == 200);
    world.step(false);
  }
  CHECK(world.add(world.a, "c", 1, 1) == 413);
  CHECK(world.add(world.b, "c", 1, 1) == 200);
  CHECK(world.drop(world.a + "|0", "c") == 200);
  CHECK(world.drop(world.a + "|0", "c") == 404);
  world.step(true);
  CHECK(world.add(world.a, "c", 1, 1) == 200);
}

TEST_CASE("what is dropped makes room when the engine has dropped it, not before", "[corpora]") {
  World world("");
  CHECK(world.add("", "c", 4, 25) == 200);
  CHECK(world.drop("", "c") == 200);
  CHECK(world.add("", "c", 1, 1) == 429);
  world.step(false);
  CHECK(world.add("", "c", 1, 1) == 429);
  CHECK(world.corpora.list("").empty());
  world.engine.learned.clear();  // it goes from the engine
  CHECK(world.add("", "c", 4, 25) == 200);
}

TEST_CASE("calls that the engine has not taken are bounded for each key", "[corpora]") {
  World world;
  for (int i = 0; i < 3; ++i) {
    CHECK(world.add(world.a, "c", 1, 1) == 200);
  }
  CHECK(world.add(world.a, "c", 1, 1) == 429);
  CHECK(world.drop(world.a, "c") == 429);
  CHECK(world.add(world.b, "c", 1, 1) == 200);
  world.step(false);
  CHECK(world.drop(world.a, "c") == 200);
}

TEST_CASE("a key that goes takes its corpora with it", "[corpora]") {
  World world;
  CHECK(world.add(world.a, "c", 1, 1) == 200);
  CHECK(world.add(world.a + "|s", "d", 1, 1) == 200);
  CHECK(world.add(world.b, "c", 1, 1) == 200);
  world.corpora.drop_keys(world.keys.replace(std::move(ApiKeys::parse("the-key-of-b\n", "keys").value())));
  CHECK(world.engine.forgotten.size() == 2);
  CHECK(world.corpora.list(world.a).empty());
  CHECK(world.corpora.list(world.a + "|s").empty());
  CHECK(world.corpora.list(world.b).size() == 1);
}

TEST_CASE("everyone's corpus is read from a file, and what is left is shared", "[corpora]") {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("coppice_corpus_" + std::to_string(getpid()) + ".jsonl")).string();
  World world;
  world.request_limits.vocab = 4;
  const auto load = [&](const std::string& text) {
    std::ofstream(path) << text;
    return world.corpora.preload(path, world.request_limits);
  };
  CHECK_THAT(std::string(load("{\"text\":\"ab\"}\n{\"text\":\"\"}").status().message()), Catch::Contains("line 2"));
  const absl::StatusOr<std::int64_t> tokens = load("{\"tokens\":[2,3,2,3,2,3,2,3,2,3]}\n\n{\"text\":\"aaaaaaaaaa\"}");
  std::filesystem::remove(path);
  REQUIRE(tokens.ok());
  CHECK(*tokens == 20);
  CHECK(world.add(world.a, "c", 2, 21) == 413);
  CHECK(world.add(world.a, "c", 2, 20) == 200);
  CHECK(world.corpora.list(world.a).size() == 2);
  CHECK(world.corpora.preload("/dev/zero", world.request_limits).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace coppice::server
