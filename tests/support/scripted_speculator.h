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
  // proposes_in: 1/proposes_in of the proposals are not empty.
  ScriptedSpeculator(std::uint64_t seed, std::int32_t vocab, std::uint32_t proposes_in = 1)
      : seed_(seed), vocab_(vocab), proposes_in_(proposes_in) {}

  void begin(SequenceSlot slot, std::string_view /*tenant*/) override { states_[slot] = {}; }
  void observe(SequenceSlot slot, engine::TokenSource source, std::span<const TokenId> tokens) override {
    State& state = states_[slot];
    if (source == engine::TokenSource::kPrediction) {
      state.prediction.insert(state.prediction.end(), tokens.begin(), tokens.end());
    } else if (source == engine::TokenSource::kOutput) {
      state.output_count += tokens.size();
    }
  }
  void verified(SequenceSlot /*slot*/, const engine::DraftTree& /*tree*/,
                std::span<const std::int32_t> /*path*/) override {}
  void end(SequenceSlot slot, std::span<const TokenId> /*rest*/) override { states_.erase(slot); }

  void propose(SequenceSlot slot, std::int32_t draft_max, float /*survival_min*/, engine::DraftTree& tree) override {
    const State& state = states_[slot];
    if (proposes_in_ > 1 && random(proposes_in_) != 0) {
      return;
    }
    std::int32_t parent = -1;
    const std::int32_t wanted = static_cast<std::int32_t>(random(static_cast<std::uint32_t>(draft_max) + 1));
    for (std::size_t at = state.output_count; at < state.prediction.size() && tree.size() < wanted; ++at) {
      add_decoys(tree, parent, state.prediction[at], wanted - 1);
      tree.add(state.prediction[at], parent, survival_below(tree, parent));
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

  // Anything up to the parent's: the budget may cut the tree anywhere.
  float survival_below(const engine::DraftTree& tree, std::int32_t parent) {
    const float most = parent < 0 ? 1.0F : tree.survival[static_cast<std::size_t>(parent)];
    return random(4) == 0 ? most * 0.75F : most;
  }
  static bool has_child(const engine::DraftTree& tree, std::int32_t parent, TokenId token) {
    for (std::size_t i = 0; i < tree.tokens.size(); ++i) {
      if (tree.parents[i] == parent && tree.tokens[i] == token) {
        return true;
      }
    }
    return false;
  }
  void add_child(engine::DraftTree& tree, std::int32_t parent, TokenId token) {
    if (!has_child(tree, parent, token)) {
      tree.add(token, parent, survival_below(tree, parent));
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
  const std::uint32_t proposes_in_;
  std::uint64_t draws_ = 0;
  std::map<SequenceSlot, State> states_;
};

}  // namespace coppice::testing
