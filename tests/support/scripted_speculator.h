// ScriptedSpeculator: guesses along the request's `prediction`, which a test sets to the true answer (or not), with
// decoys and side branches put in at random: trees of every shape, right and wrong, whose acceptance can be checked.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "base/random.h"
#include "engine/speculation/speculator.h"

namespace coppice::testing {

// Owner: an engine. Thread: the engine's.
class ScriptedSpeculator final : public engine::Speculator {
 public:
  ScriptedSpeculator(std::uint64_t seed, std::int32_t vocab) : seed_(seed), vocab_(vocab) {}

  void begin(engine::SequenceSlot slot, std::string_view /*tenant*/, std::span<const TokenId> /*prompt*/,
             std::span<const TokenId> prediction) override {
    states_[slot] = {{prediction.begin(), prediction.end()}, 0};
  }
  void observe(engine::SequenceSlot slot, std::span<const TokenId> tokens) override {
    states_[slot].output_count += tokens.size();
  }
  void verified(engine::SequenceSlot /*slot*/, std::int32_t /*proposed*/, std::int32_t /*accepted*/) override {}
  void end(engine::SequenceSlot slot) override { states_.erase(slot); }

  void propose(engine::SequenceSlot slot, std::int32_t draft_max, engine::DraftTree& tree) override {
    const State& state = states_[slot];
    std::int32_t parent = -1;
    const std::int32_t wanted = static_cast<std::int32_t>(random(static_cast<std::uint32_t>(draft_max) + 1));
    for (std::size_t at = state.output_count; at < state.prediction.size() && tree.size() < wanted; ++at) {
      add_decoys(tree, parent, state.prediction[at], wanted - 1);
      tree.tokens.push_back(state.prediction[at]);
      tree.parents.push_back(parent);
      parent = tree.size() - 1;
    }
    while (tree.size() < wanted && random(2) == 0) {  // guesses out of the blue, anywhere in the tree
      const auto above = static_cast<std::int32_t>(random(static_cast<std::uint32_t>(tree.size()) + 1)) - 1;
      add_child(tree, above, static_cast<TokenId>(random(static_cast<std::uint32_t>(vocab_))));
    }
  }

 private:
  struct State {
    std::vector<TokenId> prediction;
    std::size_t output_count = 0;
  };

  std::uint32_t random(std::uint32_t bound) { return base::philox4x32(seed_, ++draws_, 0x5BEC)[0] % bound; }

  static bool has_child(const engine::DraftTree& tree, std::int32_t parent, TokenId token) {
    for (std::size_t i = 0; i < tree.tokens.size(); ++i) {
      if (tree.parents[i] == parent && tree.tokens[i] == token) {
        return true;
      }
    }
    return false;
  }
  static void add_child(engine::DraftTree& tree, std::int32_t parent, TokenId token) {
    if (!has_child(tree, parent, token)) {
      tree.tokens.push_back(token);
      tree.parents.push_back(parent);
    }
  }
  // Wrong siblings (and children of theirs) before the right one, so that its KV must move when accepted.
  void add_decoys(engine::DraftTree& tree, std::int32_t parent, TokenId right, std::int32_t size_max) {
    while (tree.size() < size_max && random(3) == 0) {
      const auto decoy = static_cast<TokenId>(random(static_cast<std::uint32_t>(vocab_)));
      if (decoy != right) {
        add_child(tree, parent, decoy);
        if (tree.size() < size_max && random(2) == 0) {
          add_child(tree, tree.size() - 1, right);
        }
      }
    }
  }

  const std::uint64_t seed_;
  const std::int32_t vocab_;
  std::uint64_t draws_ = 0;
  std::map<engine::SequenceSlot, State> states_;
};

}  // namespace coppice::testing
