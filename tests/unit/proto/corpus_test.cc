// What the corpus routes read and write: good bodies, and bad ones with a message that names the field.
#include "proto/openai/corpus.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace coppice::openai {
namespace {

RequestLimits limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.name_bytes_max = 20;
  limits.corpus_sequences_max = 4;
  return limits;
}

TEST_CASE("a corpus comes as texts or as tokens", "[corpus]") {
  const auto texts = parse_corpus_request(R"({"name":"docs-1","texts":["one","two"],"cache_salt":"s"})", limits());
  REQUIRE(texts.ok());
  CHECK(texts.value().name == "docs-1");
  CHECK(texts.value().cache_salt == "s");
  REQUIRE(texts.value().texts.size() == 2);
  CHECK(std::get<std::string>(texts.value().texts[1]) == "two");
  const auto tokens = parse_corpus_request(R"({"name":"a","tokens":[[1,2],[3],[99]]})", limits());
  REQUIRE(tokens.ok());
  CHECK(std::get<std::vector<TokenId>>(tokens.value().texts[0]) == std::vector<TokenId>{1, 2});
  CHECK(tokens.value().texts.size() == 3);
}

TEST_CASE("a bad corpus is refused by field", "[corpus]") {
  const auto param = [](const char* body) {
    const auto parsed = parse_corpus_request(body, limits());
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().status == 400);
    return parsed.error().param;
  };
  CHECK(param(R"([])").empty());
  CHECK(param(R"({"texts":["x"]})") == "name");
  CHECK(param(R"({"name":"a b","texts":["x"]})") == "name");
  CHECK(param(R"({"name":"../x","texts":["x"]})") == "name");
  CHECK(param(R"({"name":3,"texts":["x"]})") == "name");
  CHECK(param(R"({"name":"a"})") == "texts");
  CHECK(param(R"({"name":"a","texts":[]})") == "texts");
  CHECK(param(R"({"name":"a","texts":"x"})") == "texts");
  CHECK(param(R"({"name":"a","texts":[1]})") == "texts");
  CHECK(param(R"({"name":"a","texts":["x"],"tokens":[[1]]})") == "texts");
  CHECK(param(R"({"name":"a","tokens":[1]})") == "tokens");
  CHECK(param(R"({"name":"a","tokens":[[100]]})") == "tokens");
  CHECK(param(R"({"name":"a","tokens":[[-1]]})") == "tokens");
  CHECK(param(R"({"name":"a","tokens":[[0.5]]})") == "tokens");
  CHECK(param(R"({"name":"a","tokens":[[1],[]]})") == "tokens");
  CHECK(param(R"({"name":"a","texts":["x",""]})") == "texts");
  CHECK(param(R"({"name":"a","texts":["1","2","3","4","5"]})") == "texts");
  CHECK(param(R"({"name":"a","tokens":[[1],[1],[1],[1],[1]]})") == "tokens");
  CHECK(param(R"({"name":"a","texts":["x"],"cache_salt":"123456789012345678901"})") == "cache_salt");
}

TEST_CASE("a line of a corpus file is a text or tokens", "[corpus]") {
  CHECK(std::get<std::string>(parse_corpus_line(R"({"text":"abc"})", limits()).value()) == "abc");
  CHECK(std::get<std::vector<TokenId>>(parse_corpus_line(R"({"tokens":[5]})", limits()).value()) ==
        std::vector<TokenId>{5});
  for (const char* line : {"", "7", "{}", R"({"text":1})", R"({"text":""})", R"({"tokens":[]})", R"({"tokens":[1000]})",
                           R"({"text":"a","tokens":[1]})"}) {
    CAPTURE(line);
    CHECK_FALSE(parse_corpus_line(line, limits()).ok());
  }
}

TEST_CASE("corpora are listed as objects", "[corpus]") {
  const CorpusCard cards[] = {{"a", 2, 30, false}, {"b", 1, 5, true}};
  const auto list = nlohmann::json::parse(write_corpus_list(cards));
  CHECK(list["data"].size() == 2);
  CHECK(list["data"][0] == nlohmann::json::parse(write_corpus(cards[0])));
  CHECK(list["data"][1]["tokens"] == 5);
  CHECK(list["data"][1]["shared"] == true);
  CHECK(nlohmann::json::parse(write_corpus_deleted("a"))["deleted"] == true);
}

}  // namespace
}  // namespace coppice::openai
