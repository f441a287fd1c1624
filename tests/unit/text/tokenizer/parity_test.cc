// Every kind of tokenizer against Hugging Face's own ids and texts; what must hold for all of them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/unit/text/tokenizer/expectations.h"
#include "tests/unit/text/tokenizer/fixtures.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

Expectations expectations_of(std::string_view name) {
  return read_expectations(fixture_path(name) + "/expected.json", fixture_path("corpus.json"));
}

TEST_CASE("ids and texts are those of Hugging Face") {
  for (const std::string_view name : kFixtureNames) {
    const Expectations expected = expectations_of(name);
    const Comparison comparison = compare(*load_fixture(name), expected, 5);
    for (const std::string& line : comparison.mismatches) {
      UNSCOPED_INFO(line);
    }
    INFO(name);
    CHECK(comparison.mismatch_count == 0);
    CHECK(comparison.count > 6000);
  }
}

TEST_CASE("special tokens in a text stay text unless asked for") {
  for (const std::string_view name : kFixtureNames) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    std::size_t special_count = 0;
    for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
      if (!tokenizer->is_special(id)) {
        continue;
      }
      ++special_count;
      const std::string piece = tokenizer->piece(id);
      for (const std::string& text : {piece, "x" + piece + "y", " " + piece + piece, piece + " "}) {
        const std::vector<TokenId> ids = tokenizer->encode(text, {false, false}).value();
        INFO(name << ": " << text);
        CHECK(std::none_of(ids.begin(), ids.end(), [&](TokenId found) {
          return tokenizer->is_special(found) && found != tokenizer->special().unk;
        }));
      }
      const std::vector<TokenId> parsed = tokenizer->encode(" " + piece + " ", {false, true}).value();
      const bool is_single_word_or_unk = name == "odd" || id == tokenizer->special().unk;
      CHECK((is_single_word_or_unk || std::count(parsed.begin(), parsed.end(), id) == 1));
    }
    CHECK(special_count > 0);
  }
}

TEST_CASE("decoding what was encoded gives the text back") {
  const std::vector<std::string> corpus = expectations_of("gpt2").corpus;
  for (const std::string_view name : {"gpt2", "llama3", "llama2", "llama2_new", "sentencepiece_bpe"}) {
    const bool has_metaspace = name != "gpt2" && name != "llama3";
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    for (const std::string& text : corpus) {
      if (has_metaspace && text.find("\xE2\x96\x81") != std::string::npos) {
        continue;  // "▁" comes back as a space
      }
      // Metaspace puts no space in front of one, but drops it when decoding; behind an added token it puts none.
      if (name == "llama2_new" && text.starts_with(' ')) {
        continue;
      }
      if (name == "llama2" && text.find("<think>") != std::string::npos) {
        continue;  // the normalizer puts a space behind it that the decoder does not know of
      }
      const std::vector<TokenId> ids = tokenizer->encode(text, {true, false}).value();
      INFO(name);
      CHECK(tokenizer->decode(ids, true) == text);
    }
  }
}

TEST_CASE("bytes that are not UTF-8 are taken as U+FFFD") {
  for (const std::string_view name : kFixtureNames) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    for (const std::string& text :
         {std::string("a\xFFz"), std::string("\xE4\xB8"), std::string("\xED\xA0\x80 x"), std::string("\xC0\xAF")}) {
      CHECK(tokenizer->encode(text, {}).value() == tokenizer->encode(replace_invalid_utf8(text), {}).value());
    }
  }
}

TEST_CASE("ids outside the vocabulary are skipped, and have no piece") {
  const std::unique_ptr<Tokenizer> tokenizer = load_fixture("llama3");
  const TokenId end = tokenizer->vocab_size();
  const std::vector<TokenId> ids = tokenizer->encode("green tree", {false, false}).value();
  std::vector<TokenId> noisy = {-1, end, INT32_MIN, INT32_MAX};
  noisy.insert(noisy.end(), ids.begin(), ids.end());
  noisy.push_back(end + 7);
  CHECK(tokenizer->decode(noisy, true) == "green tree");
  for (const TokenId id : {TokenId{-1}, end, INT32_MAX}) {
    CHECK(tokenizer->piece(id).empty());
    CHECK(tokenizer->token_bytes(id).empty());
    CHECK_FALSE(tokenizer->is_special(id));
  }
}

TEST_CASE("pieces and ids are each other's inverse, token bytes are what a token adds") {
  for (const std::string_view name : kFixtureNames) {
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
      CHECK(tokenizer->token_to_id(tokenizer->piece(id)) == id);
    }
    CHECK_FALSE(tokenizer->token_to_id("no such token").has_value());
  }
  const std::unique_ptr<Tokenizer> gpt2 = load_fixture("gpt2");
  CHECK(gpt2->token_bytes(gpt2->token_to_id("\xC4\xA0the").value()) == " the");
  const std::unique_ptr<Tokenizer> llama2 = load_fixture("llama2");
  CHECK(llama2->token_bytes(llama2->token_to_id("\xE2\x96\x81the").value()) == " the");
  CHECK(llama2->token_bytes(llama2->token_to_id("<0x0A>").value()) == "\n");
  const std::unique_ptr<Tokenizer> model = load_fixture("sentencepiece_bpe");
  CHECK(model->token_bytes(model->token_to_id("<0xE4>").value()) == "\xE4");
  CHECK(model->token_bytes(model->token_to_id("\xE2\x96\x81the").value()) == " the");
}

TEST_CASE("a text beyond the limit is refused") {
  const std::string text(kEncodeBytesMax + 1, 'a');
  for (const std::string_view name : {"gpt2", "sentencepiece_bpe"}) {
    const auto ids = load_fixture(name)->encode(text, {});
    CHECK(ids.status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("many threads encode at once") {
  for (const std::string_view name : {"llama3", "qwen2", "sentencepiece_bpe", "odd"}) {
    const Expectations expected = expectations_of(name);
    const std::unique_ptr<Tokenizer> tokenizer = load_fixture(name);
    std::vector<std::size_t> mismatches(4, 0);
    std::vector<std::thread> threads;
    for (std::size_t& count : mismatches) {
      threads.emplace_back([&] { count = compare(*tokenizer, expected, 1).mismatch_count; });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    CHECK(mismatches == std::vector<std::size_t>(4, 0));
  }
}

}  // namespace
}  // namespace coppice::text
