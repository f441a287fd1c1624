// Drafts against references that know nothing but counts of substrings: the published rule node by node, the blended
// one as a set of paths with their survivals.
#include <cmath>
#include <map>
#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "engine/speculation/blended_draft.h"
#include "engine/speculation/published_draft.h"
#include "tests/unit/engine/speculation/naive_tree.h"

namespace coppice::testing {
namespace {

using engine::DraftSource;
using engine::DraftTree;
using engine::SuffixTree;
using Tokens = NaiveTree::Tokens;

Tokens joined(const Tokens& string, const Tokens& more) {
  Tokens both = string;
  both.insert(both.end(), more.begin(), more.end());
  return both;
}
Tokens joined(const Tokens& string, TokenId token) {
  return joined(string, Tokens{token});
}

// A tree with one growing sequence that drafts are for, among others that grow, end and go.
struct Grove {
  Grove(std::int32_t depth, int alphabet_size)
      : tree(depth), naive(static_cast<std::size_t>(depth)), alphabet(alphabet_size) {
    sequences.push_back({next_key++, tree.begin()});
  }
  SuffixTree tree;
  NaiveTree naive;
  const int alphabet;
  struct Pair {
    int key;
    SuffixTree::SequenceId sequence;
  };
  std::vector<Pair> sequences;  // the first is the one
  std::vector<Pair> finished;
  int next_key = 0;

  DraftSource source() const { return {&tree, sequences[0].sequence}; }
  const Tokens& text() const { return naive.text(sequences[0].key); }
  void append(std::size_t which, TokenId token) {
    tree.append(sequences[which].sequence, token);
    naive.append(sequences[which].key, token);
  }
  // How often each token followed a string.
  std::map<TokenId, std::uint32_t> followers(const Tokens& string) const {
    std::map<TokenId, std::uint32_t> counts;
    for (TokenId token = 0; token < alphabet; ++token) {
      if (const std::uint32_t count = naive.count(joined(string, token)); count > 0) {
        counts[token] = count;
      }
    }
    return counts;
  }
  std::uint32_t followed(const Tokens& string) const {
    std::uint32_t sum = 0;
    for (const auto& [token, count] : followers(string)) {
      sum += count;
    }
    return sum;
  }
  void step(std::mt19937& random) {
    const auto dice = random() % 100;
    if (dice < 3 && sequences.size() < 4) {
      sequences.push_back({next_key++, tree.begin()});
      append(sequences.size() - 1, 0);
    } else if (dice < 5 && sequences.size() > 1) {
      tree.finish(sequences.back().sequence);
      finished.push_back(sequences.back());
      sequences.pop_back();
    } else if (dice < 7 && !finished.empty()) {
      tree.remove(finished.front().sequence, 1U << 20);
      naive.remove(finished.front().key);
      finished.erase(finished.begin());
    } else if (dice < 30) {
      append(random() % sequences.size(), static_cast<TokenId>(random() % static_cast<unsigned>(alphabet)));
    } else {
      const std::size_t which = random() % sequences.size();
      TokenId token = 0;
      tree.visit_matches(sequences[which].sequence, [&](SuffixTree::Locus locus) {
        tree.visit_followers(locus, [&](TokenId follower, SuffixTree::Locus) {
          token = follower;
          return random() % 2 == 0;
        });
        return false;
      });
      append(which, token);
    }
  }
};

// The published rule on counts alone.
DraftTree published_reference(const std::vector<const Grove*>& groves, const engine::PublishedOptions& options,
                              std::int32_t draft_max, std::int32_t depth) {
  struct Candidate {
    float survival;
    std::int32_t parent;
    TokenId token;
    Tokens string;
  };
  const auto goes_before = [](const Candidate& a, const Candidate& b) {
    return std::tuple(-a.survival, a.parent, a.token) < std::tuple(-b.survival, b.parent, b.token);
  };
  DraftTree best;
  float best_score = 0;
  std::uint32_t best_length = 0;
  for (const Grove* grove : groves) {
    for (const std::uint32_t length : grove->naive.matches(grove->sequences[0].key)) {
      const auto size_max = std::min(draft_max, static_cast<std::int32_t>(options.alpha * length + 1e-6));
      DraftTree draft;
      float score = 0;
      std::vector<Candidate> open;
      const auto add_children = [&](const Tokens& string, std::int32_t parent, float survival) {
        if (static_cast<std::int32_t>(string.size()) >= depth) {
          return;
        }
        const auto all = static_cast<float>(grove->followed(string));
        for (const auto& [token, count] : grove->followers(string)) {
          const float reached = survival * static_cast<float>(count) / all;
          if (reached >= options.probability_min) {
            open.push_back({reached, parent, token, joined(string, token)});
          }
        }
      };
      if (size_max > 0) {
        add_children(Tokens(grove->text().end() - length, grove->text().end()), -1, 1.0F);
      }
      while (!open.empty() && draft.size() < size_max) {
        const auto first = std::min_element(open.begin(), open.end(), goes_before);
        const Candidate chosen = *first;
        open.erase(first);
        draft.add(chosen.token, chosen.parent, chosen.survival);
        score += chosen.survival;
        add_children(chosen.string, draft.size() - 1, chosen.survival);
      }
      if (score > best_score || (score == best_score && score > 0 && length > best_length)) {
        best = draft;
        best_score = score;
        best_length = length;
      }
    }
  }
  return best;
}

using Paths = std::map<Tokens, float>;

// The blended rule on counts alone; how old a text is comes from the tree.
class BlendedReference {
 public:
  BlendedReference(const engine::DraftModel& model, std::vector<const Grove*> groves, std::uint32_t depth,
                   float survival_min)
      : model_(model), groves_(std::move(groves)), depth_(depth), survival_min_(survival_min) {}

  Paths run() {
    for (const Grove* grove : groves_) {
      std::vector<Tokens> strings;
      std::uint32_t last = 0;
      for (const std::uint32_t length : grove->naive.matches(grove->sequences[0].key)) {
        Tokens string(grove->text().end() - length, grove->text().end());
        const std::uint32_t count = grove->followed(string);
        if (count > last) {
          if (strings.size() == engine::kExpertsPerTree) {
            break;
          }
          last = count;
          strings.push_back(std::move(string));
          lengths_.push_back(length);
        } else if (strings.back().size() > depth_ - engine::BlendedDraft::room(grove->tree)) {
          strings.back() = std::move(string);
        }
      }
      lengths_.resize(roots_.size() + engine::kExpertsPerTree);
      strings.resize(engine::kExpertsPerTree);  // an empty string: no expert
      roots_.insert(roots_.end(), strings.begin(), strings.end());
    }
    expand({}, 1.0F, (1U << engine::kMatchExperts) - 1);
    return paths_;
  }

 private:
  void expand(const Tokens& path, float survival, std::uint32_t alive) {
    std::array<engine::MatchView, engine::kMatchExperts> seen;
    std::map<TokenId, std::array<engine::MatchView, engine::kMatchExperts>> views;
    for (std::size_t i = 0; i < roots_.size(); ++i) {
      const Grove& grove = *groves_[i / engine::kExpertsPerTree];
      const Tokens string = joined(roots_[i], path);
      const std::uint32_t followed = grove.followed(string);
      const std::size_t first = i / engine::kExpertsPerTree * engine::kExpertsPerTree;
      std::uint32_t last = 0;
      for (std::size_t before = first; before < i; ++before) {
        last = std::max(last, seen[before].followed);
      }
      if (roots_[i].empty() || (alive >> i & 1) == 0 || string.size() >= depth_ || followed <= last) {
        alive &= ~(1U << i);
        continue;
      }
      seen[i] = {lengths_[i] + static_cast<std::uint32_t>(path.size()), followed, 0, 0, false};
      SuffixTree::Age newest{0xFFFFFFFFU, 0};
      for (const auto& [token, count] : grove.followers(string)) {
        const SuffixTree::Age age = grove.tree.age(grove.tree.find(joined(string, token)));
        views[token][i].count = count;
        views[token][i].age = engine::BlendedDraft::age_bucket(age);
        newest = std::min(newest, age);
      }
      for (const auto& [token, count] : grove.followers(string)) {
        const SuffixTree::Age age = grove.tree.age(grove.tree.find(joined(string, token)));
        views[token][i].is_newest = !(newest < age);
      }
    }
    std::map<TokenId, float> probabilities;
    float sum = 0;
    const Tokens& own = groves_[0]->text();
    const TokenId before = path.empty() ? (own.empty() ? 0 : own.back()) : path.back();
    for (auto& [token, view] : views) {
      for (std::size_t i = 0; i < roots_.size(); ++i) {
        view[i].length = seen[i].length;
        view[i].followed = seen[i].followed;
      }
      probabilities[token] = model_.judge(view, before, token, 1).probability;
      sum += probabilities[token];
    }
    for (const auto& [token, probability] : probabilities) {
      const float reached = survival * probability / std::max(1.0F, sum);
      if (reached >= survival_min_) {
        paths_[joined(path, token)] = reached;
        expand(joined(path, token), reached, alive);
      }
    }
  }

  const engine::DraftModel& model_;
  const std::vector<const Grove*> groves_;
  const std::uint32_t depth_;
  const float survival_min_;
  std::vector<Tokens> roots_;
  std::vector<std::uint32_t> lengths_;  // of the longest match that is followed as often as the root
  Paths paths_;
};

Paths paths_of(const DraftTree& draft) {
  std::vector<Tokens> strings;
  Paths paths;
  for (std::int32_t node = 0; node < draft.size(); ++node) {
    const auto i = static_cast<std::size_t>(node);
    REQUIRE(draft.parents[i] < node);
    const auto parent = static_cast<std::size_t>(draft.parents[i]);
    strings.push_back(joined(draft.parents[i] < 0 ? Tokens{} : strings[parent], draft.tokens[i]));
    REQUIRE(draft.survival[i] > 0);
    REQUIRE(draft.survival[i] <= (draft.parents[i] < 0 ? 1.0F : draft.survival[parent]));
    REQUIRE(paths.emplace(strings.back(), draft.survival[i]).second);  // siblings differ
  }
  return paths;
}

void require_equal(const Paths& found, const Paths& expected, float survival_min) {
  constexpr float kNear = 1e-4F;
  for (const auto& [path, survival] : expected) {
    if (survival > survival_min + kNear) {
      REQUIRE(found.contains(path));
      REQUIRE(std::abs(found.at(path) - survival) < kNear);
    }
  }
  for (const auto& [path, survival] : found) {
    REQUIRE((expected.contains(path) || survival < survival_min + kNear));
  }
}

}  // namespace

TEST_CASE("the published rule drafts what a count of all substrings says", "[draft]") {
  std::uint32_t seed = 100;
  for (const std::int32_t depth : {2, 5, 9, 16}) {
    for (const int alphabet : {2, 3, 4}) {
      std::mt19937 random(seed++);
      Grove own(depth, alphabet);
      Grove shared(depth, alphabet);
      engine::PublishedDraft published;
      for (int i = 0; i < 800; ++i) {
        own.step(random);
        shared.step(random);
        if (i < 20 || random() % 4 != 0) {
          continue;
        }
        const engine::PublishedOptions options{std::array{0.5, 1.0, 2.0, 4.0}[random() % 4], false, 0.1F};
        const auto draft_max = static_cast<std::int32_t>(random() % 20 + 1);
        DraftTree draft;
        published.propose(std::array{own.source(), shared.source()}, options, draft_max, 0, draft);
        const DraftTree expected = published_reference({&own, &shared}, options, draft_max, depth);
        CAPTURE(depth, alphabet, i);
        REQUIRE(draft.tokens == expected.tokens);
        REQUIRE(draft.parents == expected.parents);
        REQUIRE(draft.survival == expected.survival);
      }
    }
  }
}

TEST_CASE("a blended draft is what its model says of the counts of substrings", "[draft]") {
  std::uint32_t seed = 200;
  std::size_t nodes = 0;
  for (const std::int32_t depth : {2, 5, 9, 16}) {
    for (const int alphabet : {2, 3, 4}) {
      std::mt19937 random(seed++);
      Grove own(depth, alphabet);
      Grove shared(depth, alphabet);
      engine::DraftModel model;
      engine::BlendedDraft blended;
      for (int i = 0; i < 800; ++i) {
        own.step(random);
        shared.step(random);
        if (i < 20 || random() % 4 != 0) {
          continue;
        }
        constexpr float kSurvivalMin = 0.3F;
        engine::DraftTrace trace;
        DraftTree draft;
        const std::array sources{own.source(), shared.source()};
        blended.propose(model, sources, 1000, kSurvivalMin, trace, draft);
        CAPTURE(depth, alphabet, i);
        require_equal(paths_of(draft),
                      BlendedReference(model, {&own, &shared}, static_cast<std::uint32_t>(depth), kSurvivalMin).run(),
                      kSurvivalMin);
        nodes += static_cast<std::size_t>(draft.size());
        for (int token = 0; token < 3; ++token) {  // the model moves on
          trace.learn(model, static_cast<TokenId>(random() % static_cast<unsigned>(alphabet)));
        }
      }
    }
  }
  CHECK(nodes > 2000);
}

TEST_CASE("a draft keeps its bounds and holds the likeliest guesses", "[draft]") {
  Grove own(16, 4);
  Grove shared(16, 4);
  std::mt19937 random(7);
  engine::DraftModel model;
  engine::BlendedDraft blended;
  engine::DraftTrace trace;
  DraftTree all;
  while (all.size() < 12) {
    own.step(random);
    shared.step(random);
    all.clear();
    blended.propose(model, std::array{own.source(), shared.source()}, 40, 0.02F, trace, all);
  }
  const std::array sources{own.source(), shared.source()};
  DraftTree few;
  blended.propose(model, sources, 6, 0.02F, trace, few);
  CHECK(few.size() == 6);
  const Paths all_paths = paths_of(all);
  const Paths few_paths = paths_of(few);
  float least = 1;
  for (const auto& [path, survival] : few_paths) {
    REQUIRE(all_paths.contains(path));
    least = std::min(least, survival);
  }
  for (const auto& [path, survival] : all_paths) {
    REQUIRE((survival <= least || few_paths.contains(path)));
  }
}

}  // namespace coppice::testing
