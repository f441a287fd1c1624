// Which tokens go into which tree, and which trees a sequence's drafts come from.
#include "engine/speculation/suffix_speculator.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace coppice::engine {
namespace {

// Chunks of ended sequences' trees that are freed with each observation: about as many as its tokens allocate.
constexpr int kDissolvePerCall = 2;
// Assumed probability that an output starts as predicted, and at each token that it goes on so.
constexpr float kPredictionSurvival = 0.9F;
// Tokens drafted from the start of a prediction: 0.9^32 is 3 %, less than the smallest survival that is drafted.
constexpr std::size_t kPredictionStart = 32;
// Last tokens of a prompt that are entered before its output: what an output starts with is then guessed from them.
constexpr std::size_t kPromptTail = 16;

}  // namespace

struct SuffixSpeculator::State {
  Tenant* tenant = nullptr;
  std::unique_ptr<Tenant> spare;  // the tenant, where its own tree is full: nothing is learned from the sequence then
  std::unique_ptr<SuffixTree> own;
  SuffixTree::SequenceId own_sequence = 0;
  SuffixTree::SequenceId shared_sequence = 0;     // in the tenant's tree
  TokenSource source = TokenSource::kPrediction;  // of the last observed tokens
  std::vector<TokenId> prediction_start;
  std::vector<TokenId> prompt_tail;  // until it is entered in the tenant's tree
  std::size_t output_count = 0;
  DraftTrace trace;
  DetachedMatch everyone_match;              // in everyone's corpora
  std::uint64_t everyone_match_version = 0;  // of the tree that the match is of; 0: none

  void note_prediction(std::span<const TokenId> tokens) {
    const std::size_t room = kPredictionStart - std::min(kPredictionStart, prediction_start.size());
    const auto start = tokens.first(std::min(room, tokens.size()));
    prediction_start.insert(prediction_start.end(), start.begin(), start.end());
  }
  void note_prompt(std::span<const TokenId> tokens) {
    const auto last = tokens.last(std::min(tokens.size(), kPromptTail));
    prompt_tail.insert(prompt_tail.end(), last.begin(), last.end());
    const std::size_t kept = std::min(kPromptTail, prompt_tail.size());
    prompt_tail.erase(prompt_tail.begin(), prompt_tail.end() - static_cast<std::ptrdiff_t>(kept));
  }
};

SuffixSpeculator::SuffixSpeculator(const SuffixSpeculatorOptions& options)
    : options_(options),
      trees_(options.depth, options.sequences_max, options.memory_bytes, options.shared_between_tenants),
      backlog_(trees_) {}
SuffixSpeculator::~SuffixSpeculator() = default;

void SuffixSpeculator::begin(SequenceSlot slot, std::string_view tenant) {
  const auto index = static_cast<std::size_t>(slot);
  if (index >= states_.size()) {
    states_.resize(index + 1);
  }
  COPPICE_CHECK(states_[index] == nullptr, "a slot begins once");
  auto state = std::make_unique<State>();
  state->tenant = &trees_.tenant(tenant);
  if (state->tenant->tree.is_full()) {
    state->spare = std::make_unique<Tenant>("", options_.depth, SuffixTree::kSequencesMax);
    state->tenant = state->spare.get();
  }
  ++state->tenant->users;
  state->shared_sequence = state->tenant->tree.begin();
  state->own = std::make_unique<SuffixTree>(options_.depth);
  state->own_sequence = state->own->begin();
  states_[index] = std::move(state);
}

void SuffixSpeculator::observe(SequenceSlot slot, TokenSource source, std::span<const TokenId> tokens) {
  State& state = this->state(slot);
  if (state.source == TokenSource::kPrediction && source != TokenSource::kPrediction) {
    // The predicted output is a text of its own: what follows is not its continuation.
    state.own->finish(state.own_sequence);
    state.own_sequence = state.own->begin();
  }
  state.source = source;
  if (source == TokenSource::kOutput) {
    observe_output(state, tokens);
  } else {
    state.everyone_match_version = 0;  // not advanced by these tokens: made anew when it is needed
    source == TokenSource::kPrediction ? state.note_prediction(tokens) : state.note_prompt(tokens);
  }
  state.own->push(state.own_sequence, tokens);
  state.own->enter(state.own_sequence, tokens.size());
  dissolve_some();
}

void SuffixSpeculator::observe_output(State& state, std::span<const TokenId> tokens) {
  state.output_count += tokens.size();
  for (const TokenId token : tokens) {
    state.trace.learn(model_, token);
  }
  follow_everyone(state, tokens);
  enter_prompt_tail(state);
  state.tenant->tree.push(state.shared_sequence, tokens);
  state.tenant->tree.enter(state.shared_sequence, tokens.size());
  if (state.spare == nullptr) {
    trees_.account(*state.tenant);
  }
  trees_.make_room_for_tokens(tokens.size());
}

// Advances the sequence's match in everyone's corpora, if it is of the tree as it is.
void SuffixSpeculator::follow_everyone(State& state, std::span<const TokenId> tokens) const {
  const Tenant* everyone = trees_.everyone_or_null();
  if (everyone == nullptr || state.everyone_match_version != everyone->version) {
    return;
  }
  for (const TokenId token : tokens) {
    state.everyone_match.advance(everyone->tree, token);
  }
}

// Everyone's corpora are no source while they change: each step would have to match the sequence anew.
std::span<const DraftSource> SuffixSpeculator::sources_of(State& state) {
  sources_ = {{{state.own.get(), state.own_sequence}, {&state.tenant->tree, state.shared_sequence}, {}}};
  const Tenant* everyone = trees_.everyone_or_null();
  if (everyone == nullptr || everyone->users > 0 || everyone->tree.tokens() == 0) {
    return std::span<const DraftSource>(sources_).first(2);
  }
  if (state.everyone_match_version != everyone->version) {
    state.everyone_match_version = everyone->version;
    state.everyone_match.clear();
    const std::span<const TokenId> text = state.own->text(state.own_sequence);
    follow_everyone(state, text.last(std::min(text.size(), static_cast<std::size_t>(options_.depth))));
  }
  sources_[2] = {&everyone->tree, 0, &state.everyone_match};
  return sources_;
}

void SuffixSpeculator::enter_prompt_tail(State& state) {
  state.tenant->tree.push(state.shared_sequence, state.prompt_tail);
  state.tenant->tree.enter(state.shared_sequence, state.prompt_tail.size());
  state.prompt_tail.clear();
}

void SuffixSpeculator::propose(SequenceSlot slot, std::int32_t draft_max, float survival_min, DraftTree& tree) {
  State& state = this->state(slot);
  draft_max = std::min(draft_max, options_.draft_max);
  survival_min = std::max(survival_min, options_.survival_min);
  state.trace.clear();
  if (state.output_count == 0 && !state.prediction_start.empty()) {
    float survival = 1;
    for (const TokenId token : state.prediction_start) {
      survival *= kPredictionSurvival;
      if (tree.size() == draft_max || survival < survival_min) {
        return;
      }
      tree.add(token, tree.size() - 1, survival);
    }
    return;
  }
  enter_prompt_tail(state);
  const std::span<const DraftSource> sources = sources_of(state);
  if (options_.scoring == DraftScoring::kPublished) {
    published_.propose(sources, options_.published, draft_max, survival_min, tree);
  } else {
    blended_.propose(model_, sources, draft_max, survival_min, state.trace, tree);
  }
}

// observe() teaches the model from the tokens themselves, whether they were verified or not.
void SuffixSpeculator::verified(SequenceSlot /*slot*/, const DraftTree& /*tree*/,
                                std::span<const std::int32_t> /*path*/) {}

void SuffixSpeculator::end(SequenceSlot slot, std::span<const TokenId> remaining) {
  std::unique_ptr<State> state = std::move(states_[static_cast<std::size_t>(slot)]);
  COPPICE_CHECK(state != nullptr, "a slot that has begun ends");
  dissolving_.push_back(std::move(state->own));
  dissolve_some();
  if (state->spare == nullptr) {
    keep_output(*state, remaining);
  }
}

void SuffixSpeculator::keep_output(State& state, std::span<const TokenId> remaining) {
  Tenant& tenant = *state.tenant;
  if (remaining.empty() || !backlog_.has_room_for_remaining(remaining.size())) {
    tenant.tree.finish(state.shared_sequence);
    trees_.keep(tenant, state.shared_sequence);
    --tenant.users;
  } else {
    std::vector<TokenId> text = std::move(state.prompt_tail);
    text.insert(text.end(), remaining.begin(), remaining.end());
    backlog_.add_remaining(tenant, state.shared_sequence, std::move(text));
  }
  trees_.account(tenant);
  trees_.forget_if_empty(tenant);
  trees_.make_room_for_end();
}

void SuffixSpeculator::dissolve_some() {
  for (int i = 0; i < kDissolvePerCall && !dissolving_.empty(); ++i) {
    if (!dissolving_.back()->dissolve()) {
      dissolving_.pop_back();
    }
  }
}

void SuffixSpeculator::learn(Corpus&& corpus) {
  backlog_.learn(std::move(corpus));
}

void SuffixSpeculator::forget(const Corpus& corpus) {
  backlog_.forget(corpus);
}

bool SuffixSpeculator::catch_up(std::int32_t tokens_max) {
  backlog_.work(static_cast<std::size_t>(std::max(tokens_max, 0)));
  dissolve_some();
  if (capture_.is_under_way() && !backlog_.has_remaining()) {  // a copy has whole outputs
    capture_.work(trees_);
  }
  return !backlog_.is_empty() || !dissolving_.empty() || capture_.is_under_way();
}

void SuffixSpeculator::begin_capture() {
  capture_.begin();
}

bool SuffixSpeculator::take_capture(SpeculationSnapshot& out) {
  if (capture_.is_under_way()) {
    return false;
  }
  out = capture_.take();
  return true;
}

absl::Status SuffixSpeculator::restore(SpeculationSnapshot&& snapshot) {
  for (const TenantText& text : snapshot.tenants) {
    Tenant& tenant = trees_.tenant(text.tenant);
    for (const SharedText& sequence : text.sequences) {
      backlog_.restore(tenant, sequence);
    }
  }
  return absl::OkStatus();
}

std::size_t SuffixSpeculator::own_bytes(SequenceSlot slot) const {
  return state(slot).own->bytes();
}

}  // namespace coppice::engine
