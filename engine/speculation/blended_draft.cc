// Growing a draft tree likeliest node first.
#include "engine/speculation/blended_draft.h"

#include <algorithm>

namespace coppice::engine {
namespace {

// Bounds of the work for one draft. A node's eighth likeliest follower has less than 1/8 of its chance.
constexpr int kChildrenMax = 8;           // of a locus, looked at; they stand about likeliest first
constexpr std::size_t kFollowersMax = 8;  // different tokens judged behind one node
constexpr std::size_t kGuessesMax = 160;  // tokens judged for one draft: five for each of 32 nodes

// Ages (age_bucket()). Near in the sequence's own text: within about a paragraph.
constexpr std::uint32_t kNearTokens = 128;
// Recent among other texts: an earlier turn of the same conversation, with a few other requests in between.
constexpr std::uint32_t kRecentSequences = 6;

// The hit rate is an average over about this number of judged nodes.
constexpr float kHitRateMemory = 16;
// Hit rates from which a sequence's confidence is 1, 2, 3: chosen by replaying recorded outputs.
constexpr float kConfidenceFrom[DraftModel::kConfidences - 1] = {0.3F, 0.6F, 0.85F};

}  // namespace

std::uint8_t BlendedDraft::age_bucket(const SuffixTree::Age& age) {
  if (age.sequences == 0) {
    return age.tokens < kNearTokens ? 0 : 1;
  }
  return age.sequences < kRecentSequences ? 2 : 3;
}

void DraftTrace::learn(DraftModel& model, TokenId token) {
  if (at_ == kDone) {
    return;
  }
  while (next_ < guesses_.size() && guesses_[next_].parent != at_) {
    ++next_;
  }
  std::int32_t matched = kDone;
  std::size_t likeliest = next_;
  const std::size_t begin = next_;
  for (; next_ < guesses_.size() && guesses_[next_].parent == at_; ++next_) {
    const Guess& guess = guesses_[next_];
    model.learn(guess.opinion, guess.token == token);
    matched = guess.token == token ? static_cast<std::int32_t>(next_) : matched;
    likeliest = guess.opinion.probability > guesses_[likeliest].opinion.probability ? next_ : likeliest;
  }
  if (next_ > begin) {
    hit_rate_ += ((guesses_[likeliest].token == token ? 1.0F : 0.0F) - hit_rate_) / kHitRateMemory;
  }
  at_ = matched;
}

std::uint32_t DraftTrace::confidence() const {
  std::uint32_t level = 0;
  for (const float from : kConfidenceFrom) {
    level += hit_rate_ >= from ? 1 : 0;
  }
  return level;
}

void BlendedDraft::propose(const DraftModel& model, std::span<const DraftSource> sources, std::int32_t draft_max,
                           float survival_min, DraftTrace& trace, DraftTree& tree) {
  nodes_.clear();
  heap_.clear();
  chosen_.clear();
  trace.clear();
  trace.at_ = -1;
  trace.next_ = 0;
  confidence_ = trace.confidence();
  find_experts(sources);
  expand(model, sources, -1, survival_min, trace);
  while (!heap_.empty() && static_cast<std::int32_t>(chosen_.size()) < draft_max) {
    std::pop_heap(heap_.begin(), heap_.end(), IsLess{nodes_});
    const std::int32_t best = heap_.back();
    heap_.pop_back();
    chosen_.push_back(best);
    expand(model, sources, best, survival_min, trace);
  }
  emit(tree);
}

// Finds the longest match of each tree, and the next shorter ones that have been followed more often: those in between
// were followed by the same tokens at the same positions and add nothing. Of equally often followed matches takes one
// that leaves room() before the depth limit, if there is one.
void BlendedDraft::find_experts(std::span<const DraftSource> sources) {
  root_ = {};
  longer_ = {};
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const SuffixTree& tree = *sources[s].tree;
    const std::uint32_t depth_max = static_cast<std::uint32_t>(tree.depth()) - room(tree);
    const std::size_t end = (s + 1) * kExpertsPerTree;
    std::size_t next = s * kExpertsPerTree;
    std::uint32_t count_last = 0;
    sources[s].visit_matches([&](SuffixTree::Locus locus) {
      const std::uint32_t count = tree.followed_count(locus, kChildrenMax);
      if (count > count_last) {
        if (next == end) {
          return false;
        }
        root_[next++] = locus;
        count_last = count;
      } else if (root_[next - 1].depth > depth_max) {
        longer_[next - 1] += root_[next - 1].depth - locus.depth;
        root_[next - 1] = locus;
      }
      return next < end || root_[next - 1].depth > depth_max;
    });
  }
}

// Judges what may follow the node `parent` (-1: the sequence's end): into nodes_, the heap and the trace.
void BlendedDraft::expand(const DraftModel& model, std::span<const DraftSource> sources, std::int32_t parent,
                          float survival_min, DraftTrace& trace) {
  Loci loci = root_;
  TokenId before = 0;
  float survival = 1;
  if (parent >= 0) {
    const Node& node = nodes_[static_cast<std::size_t>(parent)];
    loci = node.loci;
    before = node.token;
    survival = node.survival;
  } else if (const auto own = sources[0].tree->text(sources[0].sequence); !own.empty()) {
    before = own.back();
  }
  gather_followers(sources, loci);
  const std::size_t begin = nodes_.size();
  const float sum = judge_followers(model, sources.size(), loci, before, parent, trace);
  for (std::size_t i = begin; i < nodes_.size(); ++i) {
    nodes_[i].survival *= survival / std::max(1.0F, sum);
    if (nodes_[i].survival >= survival_min) {
      heap_.push_back(static_cast<std::int32_t>(i));
      std::push_heap(heap_.begin(), heap_.end(), IsLess{nodes_});
    }
  }
}

// Fills followers_ with the different tokens that followed the matches.
void BlendedDraft::gather_followers(std::span<const DraftSource> sources, const Loci& loci) {
  followers_.clear();
  followed_.fill(0);
  for (std::size_t s = 0; s < sources.size(); ++s) {
    std::uint32_t count_last = 0;
    for (std::size_t i = s * kExpertsPerTree; i < (s + 1) * kExpertsPerTree; ++i) {
      const SuffixTree& tree = *sources[s].tree;
      if (loci[i].node == SuffixTree::kNoNode || static_cast<std::int32_t>(loci[i].depth) >= tree.depth()) {
        continue;
      }
      const std::uint32_t count = tree.followed_count(loci[i], kChildrenMax);
      if (count > count_last) {  // else followed at the same positions as the longer match
        count_last = count;
        followed_[i] = count;
        gather(sources[s], i, loci[i]);
      }
    }
  }
}

// Adds a node for each follower, with its own probability as its survival. Returns the sum of the probabilities.
float BlendedDraft::judge_followers(const DraftModel& model, std::size_t trees, const Loci& loci, TokenId before,
                                    std::int32_t parent, DraftTrace& trace) {
  std::array<MatchView, kMatchExperts> views;
  float sum = 0;
  for (const Follower& follower : followers_) {
    for (std::size_t i = 0; i < trees * kExpertsPerTree; ++i) {
      views[i] = {loci[i].depth + longer_[i], followed_[i], follower.counts[i], follower.ages[i],
                  newest_[i] == follower.token};
    }
    const ExpertOpinion opinion = model.judge(views, before, follower.token, confidence_);
    if (nodes_.size() == kGuessesMax) {
      break;
    }
    sum += opinion.probability;
    trace.guesses_.push_back({parent, follower.token, opinion});
    nodes_.push_back({opinion.probability, parent, -1, follower.token, follower.loci});
  }
  return sum;
}

void BlendedDraft::gather(const DraftSource& source, std::size_t expert, SuffixTree::Locus locus) {
  int left = kChildrenMax;
  SuffixTree::Age newest{0xFFFFFFFFU, 0};
  source.tree->visit_followers(locus, [&](TokenId token, SuffixTree::Locus next) {
    const SuffixTree::Age age = source.tree->age(next);
    if (age < newest) {
      newest = age;
      newest_[expert] = token;
    }
    auto found = std::find_if(followers_.begin(), followers_.end(),
                              [token](const Follower& follower) { return follower.token == token; });
    if (found == followers_.end()) {
      if (followers_.size() == kFollowersMax) {
        return --left > 0;
      }
      followers_.push_back({token, {}, {}, {}});
      found = followers_.end() - 1;
    }
    found->ages[expert] = age_bucket(age);
    found->counts[expert] = source.tree->count(next);
    found->loci[expert] = next;
    return --left > 0;
  });
}

// Writes the chosen nodes depth first, likelier siblings first: the likeliest path then stands in one piece.
void BlendedDraft::emit(DraftTree& tree) {
  // Chosen in falling order of survival; a stack of what was chosen under a node yields its likeliest child last.
  heap_.assign(chosen_.rbegin(), chosen_.rend());
  std::stable_sort(heap_.begin(), heap_.end(), [this](std::int32_t a, std::int32_t b) {
    return nodes_[static_cast<std::size_t>(a)].parent < nodes_[static_cast<std::size_t>(b)].parent;
  });
  const auto push_children = [&](std::int32_t parent, std::vector<std::int32_t>& stack) {
    auto at = std::lower_bound(heap_.begin(), heap_.end(), parent, [this](std::int32_t guess, std::int32_t value) {
      return nodes_[static_cast<std::size_t>(guess)].parent < value;
    });
    for (; at != heap_.end() && nodes_[static_cast<std::size_t>(*at)].parent == parent; ++at) {
      stack.push_back(*at);
    }
  };
  chosen_.clear();
  push_children(-1, chosen_);
  while (!chosen_.empty()) {
    const std::int32_t guess = chosen_.back();
    chosen_.pop_back();
    Node& node = nodes_[static_cast<std::size_t>(guess)];
    node.drafted = tree.size();
    tree.add(node.token, node.parent < 0 ? -1 : nodes_[static_cast<std::size_t>(node.parent)].drafted, node.survival);
    push_children(guess, chosen_);
  }
}

}  // namespace coppice::engine
