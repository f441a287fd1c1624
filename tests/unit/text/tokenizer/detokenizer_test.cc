// Streaming decoding: equal to decoding at once whatever the ids are, never half a character.
#include <catch2/catch.hpp>
#include <random>

#include "tests/unit/text/tokenizer/fixtures.h"
#include "text/tokenizer/detokenizer.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

// Mostly tokens that are hard to decode: single bytes and special tokens.
std::vector<TokenId> random_ids(const Tokenizer& tokenizer, std::mt19937& random) {
  std::vector<TokenId> ids(random() % 40);
  for (TokenId& id : ids) {
    const auto last = static_cast<std::uint32_t>(tokenizer.vocab_size());
    id = static_cast<TokenId>(random() % 3 != 0 ? random() % (last + 3) : random() % 260);
  }
  return ids;
}

TEST_CASE("pushes are whole characters and their sum is decode()") {
  std::mt19937 random(11);
  for (const std::string_view name : kFixtureNames) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    for (int round = 0; round < 3000; ++round) {
      const std::vector<TokenId> ids = random_ids(*tokenizer, random);
      const bool skip_special = round % 2 == 0;
      Detokenizer detokenizer(*tokenizer, {skip_special});
      std::string text;
      for (const TokenId id : ids) {
        const std::string pushed = detokenizer.push(id);
        REQUIRE(is_valid_utf8(pushed));
        text += pushed;
      }
      text += detokenizer.finish();
      REQUIRE(text == tokenizer->decode(ids, skip_special));
      REQUIRE(is_valid_utf8(text));
    }
  }
}

TEST_CASE("finish() makes it new, a copy is a fork") {
  std::mt19937 random(12);
  for (const std::string_view name : kFixtureNames) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    Detokenizer reused(*tokenizer);
    for (int round = 0; round < 200; ++round) {
      const std::vector<TokenId> head = random_ids(*tokenizer, random);
      const std::vector<TokenId> tail = random_ids(*tokenizer, random);
      std::string first;
      for (const TokenId id : head) {
        first += reused.push(id);
      }
      Detokenizer fork = reused;
      std::string second = first;
      for (const TokenId id : tail) {
        second += fork.push(id);
      }
      first += reused.finish();
      second += fork.finish();
      std::vector<TokenId> both = head;
      both.insert(both.end(), tail.begin(), tail.end());
      REQUIRE(first == tokenizer->decode(head, true));
      REQUIRE(second == tokenizer->decode(both, true));
    }
  }
}

// The decoder of what follows `prompt`, which owns nothing of it.
std::string answer_text(const Tokenizer& tokenizer, const std::vector<TokenId>& prompt,
                        const std::vector<TokenId>& ids) {
  Detokenizer decoder = Detokenizer::after(tokenizer, {}, prompt);
  decoder.disown_pending();
  std::string text;
  for (const TokenId id : ids) {
    text += decoder.push(id);
  }
  return text + decoder.finish();
}

TEST_CASE("half a character at a prompt's end gives nothing by itself, and a whole one with its other half") {
  const std::string sheep = "\xE7\xBE\x8A";
  for (const std::string_view name : kFixtureNames) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    const std::vector<TokenId> ids = tokenizer->encode(sheep + sheep, {false, false}).value();
    if (tokenizer->decode(ids, true) != sheep + sheep || ids.size() < 6) {
      continue;  // its vocabulary has the character, or cannot write it
    }
    INFO(name);
    const std::size_t first = ids.size() - 6;  // of the byte tokens
    const auto byte = [&](std::size_t index) { return ids[first + index]; };
    const TokenId letter = tokenizer->encode("x", {false, false}).value().back();
    const std::string x = tokenizer->token_bytes(letter);
    CHECK(answer_text(*tokenizer, {letter, byte(0), byte(1)}, {letter}) == x);
    CHECK(answer_text(*tokenizer, {letter, byte(0), byte(1)}, {}).empty());
    CHECK(answer_text(*tokenizer, {letter, byte(0), byte(1)}, {byte(2), letter}) == sheep + x);
    CHECK(answer_text(*tokenizer, {letter, byte(0), byte(1), byte(2)}, {letter}) == x);
    CHECK(answer_text(*tokenizer, {letter, byte(0), byte(1), byte(2)}, {byte(3), byte(4), byte(5)}) == sheep);
    CHECK(answer_text(*tokenizer, {letter, byte(0)}, {byte(0), letter}) == std::string(kReplacementCharacter) + x);
  }
}

TEST_CASE("a character is given out with the token that completes it") {
  const std::unique_ptr<Tokenizer> tokenizer = load_fixture("gpt2");
  const std::string smile = "\xF0\x9F\x98\x80";
  const std::vector<TokenId> ids = tokenizer->encode(smile, {false, false}).value();
  REQUIRE(ids.size() > 1);
  Detokenizer detokenizer(*tokenizer);
  for (std::size_t index = 0; index + 1 < ids.size(); ++index) {
    CHECK(detokenizer.push(ids[index]).empty());
  }
  CHECK(detokenizer.push(ids.back()) == smile);
  CHECK(detokenizer.finish().empty());
}

TEST_CASE("byte fallback: sentencepiece gives characters out at once, Hugging Face's rule holds the run") {
  const std::string text = std::string("\xE7\xBE\x8A\xE7\xBE\x8A") + "a";  // two sheep
  for (const std::string_view name : {"sentencepiece_bpe", "llama2"}) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    const std::vector<TokenId> ids = tokenizer->encode(text, {false, false}).value();
    REQUIRE(tokenizer->token_text(ids[1], false).form == TokenForm::kByte);
    Detokenizer detokenizer(*tokenizer);
    std::size_t not_empty = 0;
    std::string streamed;
    for (const TokenId id : ids) {
      const std::string pushed = detokenizer.push(id);
      not_empty += pushed.empty() ? 0 : 1;
      streamed += pushed;
    }
    CHECK(streamed + detokenizer.finish() == text);
    CHECK(not_empty == (name == "llama2" ? 1 : 3));
  }
}

TEST_CASE("a run of a hundred thousand byte tokens costs what its length is") {
  for (const std::string_view name : {"sentencepiece_bpe", "llama2", "gpt2"}) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    const TokenId lead = tokenizer->token_to_id(name == "gpt2" ? "\xC3\xB0" : "<0xF0>").value();
    Detokenizer detokenizer(*tokenizer);
    std::size_t bytes = 0;
    for (int count = 0; count < 100'000; ++count) {
      bytes += detokenizer.push(lead).size();
    }
    bytes += detokenizer.finish().size();
    CHECK(bytes == 300'000);
  }
}

// Every push and the end of both, over the same tokens.
void require_equal(Detokenizer whole, Detokenizer tail, const std::vector<TokenId>& answer) {
  for (const TokenId id : answer) {
    REQUIRE(whole.push(id) == tail.push(id));
  }
  REQUIRE(whole.finish() == tail.finish());
}

TEST_CASE("a decoder made from a prompt's end continues it as one that decoded all of it") {
  std::mt19937 random(13);
  for (const std::string_view name : kFixtureNames) {
    INFO(name);
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    for (int round = 0; round < 2000; ++round) {
      // Runs of one token make long prompts without text: spaces, bytes, special tokens.
      std::vector<TokenId> prompt;
      for (auto parts = random() % 12; parts > 0; --parts) {
        const std::vector<TokenId> part = random_ids(*tokenizer, random);
        prompt.insert(prompt.end(), part.begin(), part.end());
        prompt.insert(prompt.end(), random() % 3 == 0 ? random() % 60 : 0, part.empty() ? 0 : part.front());
      }
      const DetokenizeOptions options = {round % 2 == 0};
      Detokenizer whole(*tokenizer, options);
      for (const TokenId id : prompt) {
        (void)whole.push(id);
      }
      require_equal(whole, Detokenizer::after(*tokenizer, options, prompt), random_ids(*tokenizer, random));
    }
  }
}

TEST_CASE("a decoder made from a prompt's end knows what each run of one token leaves") {
  for (const std::string_view name : kFixtureNames) {
    INFO(name);
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    std::vector<TokenId> answer;
    for (TokenId id = 0; id < tokenizer->vocab_size(); id += 7) {
      answer.push_back(id);
    }
    for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
      const std::vector<TokenId> prompt(40, id);
      Detokenizer whole(*tokenizer);
      for (const TokenId pushed : prompt) {
        (void)whole.push(pushed);
      }
      require_equal(whole, Detokenizer::after(*tokenizer, {}, prompt), answer);
    }
  }
}

}  // namespace
}  // namespace coppice::text
