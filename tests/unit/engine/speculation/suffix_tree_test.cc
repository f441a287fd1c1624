// The suffix tree against a map of all substrings: random appends to many growing sequences, ends and removals, over
// small alphabets so that every kind of split, catch-up and adoption happens.
#include "engine/speculation/suffix_tree.h"

#include <random>

#include "catch2/catch.hpp"
#include "tests/unit/engine/speculation/naive_tree.h"

namespace coppice::testing {
namespace {

using engine::SuffixTree;
using Tokens = NaiveTree::Tokens;

// A tree and its reference under the same random operations.
class Trial {
 public:
  Trial(std::uint32_t seed, std::int32_t depth, int alphabet)
      : random_(seed), depth_(depth), alphabet_(alphabet), tree_(depth), naive_(static_cast<std::size_t>(depth)) {}

  void step() {
    const std::uint32_t dice = pick(100);
    if (growing_.empty() || (dice < 4 && growing_.size() < 5)) {
      growing_.push_back({next_++, tree_.begin()});
    } else if (dice < 8) {
      end_one();
    } else if (dice < 11 && !finished_.empty()) {
      remove_one(dice == 10 ? pick(static_cast<std::uint32_t>(finished_.size())) : 0);
    } else {
      const auto& [key, sequence] = growing_[pick(static_cast<std::uint32_t>(growing_.size()))];
      append(key, sequence);
    }
    if (growing_.size() + finished_.size() > 12 && !finished_.empty()) {
      remove_one(0);
    }
  }

  void check_all() {
    REQUIRE(tree_.integrity_problem().empty());
    for (const auto& [string, count] : naive_.counts()) {
      const SuffixTree::Locus locus = tree_.find(string);
      REQUIRE(locus.node != SuffixTree::kNoNode);
      REQUIRE(tree_.count(locus) == count);
    }
    for (const auto& [key, sequence] : growing_) {
      check_matches(key, sequence);
    }
  }

  void check_some() {
    for (const auto& [key, sequence] : growing_) {
      check_matches(key, sequence);
    }
    Tokens string(pick(static_cast<std::uint32_t>(depth_)) + 1);
    for (TokenId& token : string) {
      token = static_cast<TokenId>(pick(static_cast<std::uint32_t>(alphabet_)));
    }
    const SuffixTree::Locus locus = tree_.find(string);
    REQUIRE((locus.node == SuffixTree::kNoNode ? 0 : tree_.count(locus)) == naive_.count(string));
    if (locus.node != SuffixTree::kNoNode && locus.depth < static_cast<std::uint32_t>(depth_)) {
      check_followers(string, locus);
    }
  }

  void empty() {
    while (!growing_.empty()) {
      end_one();
    }
    while (!finished_.empty()) {
      remove_one(0);
    }
    CHECK(tree_.nodes() == 1);
    CHECK(tree_.tokens() == 0);
    REQUIRE(tree_.integrity_problem().empty());
  }

 private:
  struct Pair {
    int key;
    SuffixTree::SequenceId sequence;
  };

  std::uint32_t pick(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  void append(int key, SuffixTree::SequenceId sequence) {
    // Mostly what some other text goes on with, so that matches grow long.
    TokenId token = static_cast<TokenId>(pick(static_cast<std::uint32_t>(alphabet_)));
    if (pick(4) != 0) {
      tree_.visit_matches(sequence, [&](SuffixTree::Locus locus) {
        tree_.visit_followers(locus, [&](TokenId follower, SuffixTree::Locus) {
          token = follower;
          return pick(2) == 0;
        });
        return false;
      });
    }
    tree_.append(sequence, token);
    naive_.append(key, token);
  }
  void end_one() {
    const std::size_t which = pick(static_cast<std::uint32_t>(growing_.size()));
    tree_.finish(growing_[which].sequence);
    finished_.push_back(growing_[which]);
    growing_.erase(growing_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  void remove_one(std::size_t which) {
    const Pair pair = finished_[which];
    finished_.erase(finished_.begin() + static_cast<std::ptrdiff_t>(which));
    while (!tree_.remove(pair.sequence, 1 + pick(3))) {
    }
    naive_.remove(pair.key);
  }
  void check_matches(int key, SuffixTree::SequenceId sequence) {
    if (tree_.text(sequence).empty()) {
      return;
    }
    const Tokens& text = naive_.text(key);
    std::vector<std::uint32_t> lengths;
    tree_.visit_matches(sequence, [&](SuffixTree::Locus locus) {
      lengths.push_back(locus.depth);
      const SuffixTree::Locus found = tree_.find({text.end() - locus.depth, text.end()});
      CHECK(found.node == locus.node);
      return true;
    });
    REQUIRE(lengths == naive_.matches(key));
  }
  void check_followers(const Tokens& string, SuffixTree::Locus locus) {
    std::map<TokenId, std::uint32_t> followers;
    tree_.visit_followers(locus, [&](TokenId token, SuffixTree::Locus next) {
      followers[token] = tree_.count(next);
      REQUIRE(tree_.follow(locus, token).node == next.node);
      return true;
    });
    Tokens longer = string;
    longer.push_back(0);
    for (TokenId token = 0; token < alphabet_; ++token) {
      longer.back() = token;
      REQUIRE((followers.contains(token) ? followers[token] : 0) == naive_.count(longer));
    }
  }

  std::mt19937 random_;
  const std::int32_t depth_;
  const int alphabet_;
  SuffixTree tree_;
  NaiveTree naive_;
  std::vector<Pair> growing_;
  std::vector<Pair> finished_;
  int next_ = 0;
};

}  // namespace

TEST_CASE("a suffix tree counts and matches like a map of all substrings", "[suffix_tree]") {
  std::uint32_t seed = 1;
  for (const std::int32_t depth : {1, 2, 3, 4, 5, 7, 8, 11, 16}) {
    for (const int alphabet : {2, 3, 4}) {
      CAPTURE(depth, alphabet, seed);
      Trial trial(seed++, depth, alphabet);
      for (int i = 0; i < 4000; ++i) {
        trial.step();
        trial.check_some();
        if (i % 40 == 0) {
          trial.check_all();
        }
      }
      trial.empty();
    }
  }
}

TEST_CASE("tokens wait until they are entered, piece by piece", "[suffix_tree]") {
  SuffixTree tree(8);
  const SuffixTree::SequenceId sequence = tree.begin();
  tree.push(sequence, std::vector<TokenId>{1, 2, 3, 1, 2});
  CHECK(tree.waiting(sequence) == 5);
  CHECK(tree.enter(sequence, 2) == 2);
  tree.append(sequence, 3);  // entered after those that wait
  CHECK(tree.find(std::vector<TokenId>{3, 1}).node == SuffixTree::kNoNode);
  CHECK(tree.enter(sequence, 100) == 3);
  CHECK(tree.count(tree.find(std::vector<TokenId>{1, 2, 3})) == 2);
}

TEST_CASE("a tree says when it has no place for a sequence, and drops what is too long", "[suffix_tree]") {
  SuffixTree tree(4, 3);
  std::vector<SuffixTree::SequenceId> sequences;
  while (!tree.is_full()) {
    sequences.push_back(tree.begin());
    tree.append(sequences.back(), 7);
    tree.finish(sequences.back());
  }
  CHECK(sequences.size() == 3);
  for (const SuffixTree::SequenceId sequence : sequences) {
    CHECK(tree.remove(sequence, 10));
  }
  CHECK_FALSE(tree.is_full());
  const SuffixTree::SequenceId sequence = tree.begin();
  tree.push(sequence, std::vector<TokenId>((std::size_t{1} << 24) - 3, 1));
  tree.push(sequence, std::vector<TokenId>(10, 2));
  CHECK(tree.waiting(sequence) == (std::size_t{1} << 24) - 1);
  tree.push(sequence, std::vector<TokenId>(10, 2));
  CHECK(tree.waiting(sequence) == (std::size_t{1} << 24) - 1);
}

}  // namespace coppice::testing
