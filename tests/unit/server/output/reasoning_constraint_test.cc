// Thinking under a budget and before an answer that is held to something, token by token and in drafts.
#include "server/output/reasoning_constraint.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

// ids: 2 a, 3 "<", 4 "/think>", 5 line end, 6 two of them, 7 x, 8 y, 9 "/think>x", 10 <think>, 11 </think>
const std::vector<std::string> kWords = {"a", "<", "/think>", "\n", "\n\n", "x", "y", "/think>x"};
const text::TestTokenizer kPlain(kWords);
const text::TestTokenizer kAdded(kWords, {"<think>", "</think>"});
constexpr TokenId kEnd = 1;

// x, then y, then the end, over and over.
class XyConstraint final : public engine::TokenConstraint {
 public:
  absl::Status accept(TokenId token) override {
    if (token != next(count_)) {
      return absl::InvalidArgumentError("not here");
    }
    ++count_;
    return absl::OkStatus();
  }
  absl::Status check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) override {
    for (std::size_t i = 0; i < draft.tokens.size(); ++i) {
      const bool is_root = draft.parents[i] < 0;
      allowed[i] = draft.tokens[i] == next(depth(draft, i)) &&
                           (is_root || allowed[static_cast<std::size_t>(draft.parents[i])] != 0)
                       ? 1
                       : 0;
    }
    return absl::OkStatus();
  }
  absl::Status fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                          std::span<std::uint8_t> limited) override {
    for (std::size_t entry = 0; entry < limited.size(); ++entry) {
      limited[entry] = 1;
      masks[entry] = 1U << static_cast<unsigned>(next(entry == 0 ? count_ : depth(draft, entry - 1) + 1));
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<TokenId>> forced_tokens() override { return std::vector<TokenId>{next(count_)}; }

 private:
  static TokenId next(int count) { return count % 3 == 0 ? 7 : count % 3 == 1 ? 8 : kEnd; }
  int depth(const engine::DraftNodes& draft, std::size_t node) const {
    int count = count_;
    for (std::int32_t at = draft.parents[node]; at >= 0; at = draft.parents[static_cast<std::size_t>(at)]) {
      ++count;
    }
    return count;
  }
  int count_ = 0;
};

class XySource final : public engine::ConstraintSource {
 public:
  absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> begin() const override {
    return std::make_unique<XyConstraint>();
  }
};

struct World {
  explicit World(const text::TestTokenizer& tokenizer, std::optional<std::int64_t> budget, bool has_answer,
                 ReasoningStart start = ReasoningStart::kOpen)
      : tokens(*find_reasoning_format("qwen3"), tokenizer, tokenizer.vocab_size(), {kEnd}) {
    constraint =
        ReasoningSource(tokens, start, budget, has_answer ? std::make_shared<XySource>() : nullptr).begin().value();
  }

  // What may come now; empty: everything.
  std::vector<TokenId> may_come() { return masks({}, {}).front(); }
  std::vector<std::vector<TokenId>> masks(const std::vector<std::int32_t>& parents,
                                          const std::vector<TokenId>& drafted) {
    std::vector<std::uint32_t> words(drafted.size() + 1, 0);
    std::vector<std::uint8_t> limited(drafted.size() + 1, 7);
    REQUIRE(constraint->fill_masks({parents, drafted}, words, limited).ok());
    std::vector<std::vector<TokenId>> out;
    for (std::size_t entry = 0; entry < words.size(); ++entry) {
      std::vector<TokenId>& list = out.emplace_back();
      for (TokenId token = 0; limited[entry] == 1 && token < tokens.vocab_size(); ++token) {
        if ((words[entry] >> static_cast<unsigned>(token) & 1U) != 0) {
          list.push_back(token);
        }
      }
    }
    return out;
  }
  std::vector<std::uint8_t> check(const std::vector<std::int32_t>& parents, const std::vector<TokenId>& drafted) {
    std::vector<std::uint8_t> allowed(drafted.size(), 7);
    REQUIRE(constraint->check_draft({parents, drafted}, allowed).ok());
    return allowed;
  }
  void accept(const std::vector<TokenId>& ids) {
    for (const TokenId id : ids) {
      REQUIRE(constraint->accept(id).ok());
    }
  }

  ReasoningTokens tokens;
  std::unique_ptr<engine::TokenConstraint> constraint;
};

using Ids = std::vector<TokenId>;

TEST_CASE("after the budget of thinking only its end may come, as one token or as several") {
  World one(kAdded, 2, false);
  CHECK(one.may_come().empty());
  one.accept({2, 2});
  CHECK(one.may_come() == Ids{11});
  CHECK(one.constraint->forced_tokens().value() == Ids{11});
  CHECK(one.check({-1, -1}, {11, 2}) == std::vector<std::uint8_t>{1, 0});
  CHECK_FALSE(one.constraint->accept(2).ok());

  World several(kPlain, 1, false);
  several.accept({3});  // the budget cuts into an end that has begun
  CHECK(several.may_come() == Ids{3});
  CHECK(several.constraint->forced_tokens().value() == Ids{3, 4});
  several.accept({3});
  CHECK(several.may_come() == Ids{4});
  several.accept({4, 2, 2, 2});
  CHECK(several.may_come().empty());
  World none(kAdded, 0, false);
  CHECK(none.may_come() == Ids{11});
}

TEST_CASE("an answer that is held to something begins where thinking ends, behind line ends") {
  World world(kPlain, std::nullopt, true);
  const Ids thinking = world.may_come();
  CHECK(std::find(thinking.begin(), thinking.end(), kEnd) == thinking.end());
  CHECK(std::find(thinking.begin(), thinking.end(), 9) != thinking.end());
  world.accept({2, 3});
  const Ids closing = world.may_come();  // "/think>x" would end the thinking and begin the answer
  CHECK(std::find(closing.begin(), closing.end(), 9) == closing.end());
  CHECK(std::find(closing.begin(), closing.end(), 4) != closing.end());
  world.accept({4});
  CHECK(world.may_come() == Ids{5, 6, 7});
  CHECK(world.constraint->forced_tokens().value() == Ids{7});
  world.accept({6});
  CHECK(world.may_come() == Ids{5, 6, 7});
  world.accept({5});
  CHECK(world.may_come() == Ids{7});
  world.accept({7});
  CHECK(world.may_come() == Ids{8});
  CHECK_FALSE(world.constraint->accept(2).ok());
}

TEST_CASE("a prompt that opens nothing: the model may think first, or answer at once") {
  World world(kAdded, 1, true, ReasoningStart::kUnsaid);
  CHECK(world.may_come() == Ids{7, 10});
  world.accept({10, 2});
  CHECK(world.may_come() == Ids{11});
  world.accept({11});
  CHECK(world.may_come() == Ids{5, 6, 7});
  World at_once(kAdded, 1, true, ReasoningStart::kUnsaid);
  at_once.accept({7});
  CHECK(at_once.may_come() == Ids{8});
  World over(kAdded, 1, true, ReasoningStart::kOver);
  CHECK(over.may_come() == Ids{7});
  World free(kAdded, 1, false, ReasoningStart::kUnsaid);
  free.accept({5, 2, 10, 2, 2});
  CHECK(free.may_come().empty());
}

TEST_CASE("a token that ends a mark and goes on behind it") {
  // 2 "<think", 3 ">\n", 4 "</think", 5 ">\n\n", 6 "</think>\n", 7 x, 8 y, 9 "a</think>x", 10 "<think>Hm</think>", 11
  // ">"
  const text::TestTokenizer tokenizer(
      {"<think", ">\n", "</think", ">\n\n", "</think>\n", "x", "y", "a</think>x", "<think>Hm</think>", ">"});
  World opens(tokenizer, 1, false, ReasoningStart::kUnsaid);
  opens.accept({2, 3});  // no token of the mark ends where the mark does
  CHECK(opens.may_come().empty());
  opens.accept({7});
  CHECK(opens.may_come() == Ids{4});  // it thinks, and the budget is spent
  World thought(tokenizer, 0, false, ReasoningStart::kUnsaid);
  thought.accept({10});  // all of it at once: nothing is left to be bounded
  CHECK(thought.may_come().empty());
  for (const Ids& closing : {Ids{4, 5}, Ids{6}, Ids{7, 6}}) {
    World closes(tokenizer, std::nullopt, true);
    closes.accept(closing);
    CHECK(closes.check({-1, -1}, {7, 8}) == std::vector<std::uint8_t>{1, 0});
  }
  World hides(tokenizer, std::nullopt, true);
  const Ids thinking = hides.may_come();
  CHECK(std::find(thinking.begin(), thinking.end(), 9) == thinking.end());  // x would begin the answer unseen
  CHECK(std::find(thinking.begin(), thinking.end(), 6) != thinking.end());
  CHECK(hides.check({-1}, {9}) == std::vector<std::uint8_t>{0});
}

TEST_CASE("inside a draft: each node's mask is the one it would have as the sequence's last token") {
  // Two branches end the thinking, one of them with a line end; a third goes on thinking.
  const std::vector<std::int32_t> parents = {-1, 0, 1, 2, 1, 4, -1, 6, 3};
  const Ids drafted = {3, 4, 5, 7, 7, 8, 2, 11, 8};
  for (const bool has_answer : {false, true}) {
    for (const std::optional<std::int64_t> budget : {std::optional<std::int64_t>(), std::optional<std::int64_t>(5)}) {
      World world(kAdded, budget, has_answer);
      world.accept({2});
      const std::vector<std::uint8_t> allowed = world.check(parents, drafted);
      CHECK(std::count(allowed.begin(), allowed.end(), 1) == 9);
      const std::vector<std::vector<TokenId>> masks = world.masks(parents, drafted);
      for (std::size_t node = 0; node < drafted.size(); ++node) {
        Ids path;
        for (auto at = static_cast<std::int32_t>(node); at >= 0; at = parents[static_cast<std::size_t>(at)]) {
          path.insert(path.begin(), drafted[static_cast<std::size_t>(at)]);
        }
        World alone(kAdded, budget, has_answer);
        alone.accept({2});
        alone.accept(path);
        INFO("node " << node);
        CHECK(masks[node + 1] == alone.may_come());
      }
    }
  }
  World world(kAdded, std::nullopt, true);
  CHECK(world.check({-1, 0, 1}, {11, 8, 7}) == std::vector<std::uint8_t>{1, 0, 0});
}

}  // namespace
}  // namespace coppice::server
