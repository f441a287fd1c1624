// BPE against the plainest merger there is: look at every pair, merge the best one, begin again.
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "text/tokenizer/bpe_model.h"

namespace coppice::text {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // "▁"

BpeDescription random_model(std::mt19937& random, const std::vector<std::string>& alphabet) {
  BpeDescription description;
  for (const std::string& letter : alphabet) {
    description.vocabulary.emplace_back(letter, static_cast<TokenId>(description.vocabulary.size()));
  }
  for (int count = 0; count < 60; ++count) {
    const std::string left = description.vocabulary[random() % description.vocabulary.size()].first;
    const std::string right = description.vocabulary[random() % description.vocabulary.size()].first;
    bool known = false;
    for (const auto& [piece, id] : description.vocabulary) {
      known = known || piece == left + right;
    }
    if (!known) {
      description.vocabulary.emplace_back(left + right, static_cast<TokenId>(description.vocabulary.size()));
    }
    description.merges.emplace_back(left, right);
  }
  if (random() % 2 == 0) {  // a vocabulary whose texts can be cut before "▁"
    std::erase_if(description.merges, [](const auto& merge) {
      return merge.second.starts_with(kMetaspace) && !merge.first.ends_with(kMetaspace);
    });
  }
  return description;
}

// As strings, from the definition. Of a pair that is listed twice the later rank counts.
std::vector<TokenId> merge_plainly(const BpeDescription& description, std::vector<std::string> symbols) {
  std::map<std::pair<std::string, std::string>, std::size_t> ranks;
  for (std::size_t rank = 0; rank < description.merges.size(); ++rank) {
    ranks[description.merges[rank]] = rank;
  }
  while (true) {
    std::size_t best = SIZE_MAX;
    std::size_t best_at = 0;
    for (std::size_t at = 0; at + 1 < symbols.size(); ++at) {
      const auto found = ranks.find({symbols[at], symbols[at + 1]});
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        best_at = at;
      }
    }
    if (best == SIZE_MAX) {
      break;
    }
    symbols[best_at] += symbols[best_at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
  std::map<std::string, TokenId> ids(description.vocabulary.begin(), description.vocabulary.end());
  std::vector<TokenId> out;
  for (const std::string& symbol : symbols) {
    out.push_back(ids.at(symbol));
  }
  return out;
}

void compare_with_plain(const std::vector<std::string>& alphabet, std::size_t length_max, int rounds) {
  std::mt19937 random(5);
  std::size_t merged = 0;
  for (int round = 0; round < rounds; ++round) {
    const BpeDescription description = random_model(random, alphabet);
    const BpeModel model = BpeModel::create(description).value();
    BpeModel::Scratch scratch;
    for (int text = 0; text < 8; ++text) {
      std::vector<std::string> symbols(1 + random() % length_max);
      std::string piece;
      for (std::string& symbol : symbols) {
        symbol = alphabet[random() % alphabet.size()];
        piece += symbol;
      }
      std::vector<TokenId> ids;
      model.encode_piece(piece, ids, scratch);
      REQUIRE(ids == merge_plainly(description, symbols));
      merged += symbols.size() - ids.size();
    }
  }
  CHECK(merged > 1000);
}

TEST_CASE("short pieces") {
  compare_with_plain({"a", "b", "c"}, 12, 300);
}

TEST_CASE("long pieces") {
  compare_with_plain({"a", "b", "c"}, 400, 60);
}

TEST_CASE("words of sentencepiece vocabularies, cut apart or not") {
  compare_with_plain({"a", "b", "\xE2\x96\x81", "\xC3\xA9"}, 60, 200);
}

TEST_CASE("a piece of a million characters takes moments") {
  BpeDescription description;
  description.vocabulary = {{"a", 0}, {"aa", 1}, {"aaaa", 2}, {"b", 3}};
  description.merges = {{"a", "a"}, {"aa", "aa"}};
  const BpeModel model = BpeModel::create(description).value();
  BpeModel::Scratch scratch;
  std::vector<TokenId> ids;
  model.encode_piece(std::string(1'000'000, 'a'), ids, scratch);
  CHECK(ids == std::vector<TokenId>(250'000, 2));
}

TEST_CASE("unknown characters, byte fallback and ignore_merges") {
  BpeDescription description;
  description.vocabulary = {{"a", 0}, {"<unk>", 1}, {"aa", 2}, {"<0xC3>", 3}, {"<0xA9>", 4}, {"aaa", 5}};
  description.merges = {{"a", "a"}};
  const auto encode = [&description](const std::string& piece) {
    BpeModel::Scratch scratch;
    std::vector<TokenId> ids;
    BpeModel::create(description).value().encode_piece(piece, ids, scratch);
    return ids;
  };
  using Ids = std::vector<TokenId>;
  CHECK(encode("axyaa") == Ids{2, 0});  // merged over the characters that are dropped
  description.unk_token = "<unk>";
  CHECK(encode("axya") == Ids{0, 1, 1, 0});
  description.fuse_unk = true;
  CHECK(encode("axya") == Ids{0, 1, 0});
  description.byte_fallback = true;
  CHECK(encode("a\xC3\xA9x") == Ids{0, 3, 4, 1});
  CHECK(encode("x\xC3\xA9y") == Ids{3, 4, 1});  // bytes overtake the unknown, as in Hugging Face
  CHECK(encode("aaa") == Ids{2, 0});
  description.ignore_merges = true;
  CHECK(encode("aaa") == Ids{5});
}

}  // namespace
}  // namespace coppice::text
