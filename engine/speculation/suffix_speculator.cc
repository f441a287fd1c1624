// SuffixSpeculator: which tokens go into which tree, and whose are the oldest.
#include "engine/speculation/suffix_speculator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "engine/speculation/suffix_speculator_state.h"

namespace coppice::engine {
namespace {

// Chunks of ended sequences' trees that are freed with each observation.
constexpr int kDissolvePerCall = 2;
// How sure one is that an output starts with the predicted one, and goes on as it.
constexpr float kPredictionSurvival = 0.9F;
constexpr std::size_t kPredictionStart = 32;
// The last tokens of a prompt that are kept with its output: so that what outputs start with can be guessed from what
// asked for it.
constexpr std::size_t kPromptTail = 16;

}  // namespace

SuffixSpeculator::SuffixSpeculator(const SuffixSpeculatorOptions& options) : options_(options) {}
SuffixSpeculator::~SuffixSpeculator() = default;

SuffixSpeculator::Tenant& SuffixSpeculator::tenant_of(std::string_view name) {
  const std::string_view key = options_.shared_between_tenants ? std::string_view() : name;
  auto found = tenants_.find(key);
  if (found == tenants_.end()) {
    found = tenants_.emplace(std::string(key), std::make_unique<Tenant>(std::string(key), options_.depth)).first;
  }
  return *found->second;
}

void SuffixSpeculator::begin(SequenceSlot slot, std::string_view tenant) {
  const auto index = static_cast<std::size_t>(slot);
  if (index >= states_.size()) {
    states_.resize(index + 1);
  }
  COPPICE_CHECK(states_[index] == nullptr, "a slot begins once");
  auto state = std::make_unique<State>();
  state->tenant = &tenant_of(tenant);
  ++state->tenant->users;
  state->shared_sequence = state->tenant->tree.begin();
  state->own = std::make_unique<SuffixTree>(options_.depth);
  state->own_sequence = state->own->begin();
  states_[index] = std::move(state);
}

void SuffixSpeculator::observe(SequenceSlot slot, TokenSource source, std::span<const TokenId> tokens) {
  State& state = *states_[static_cast<std::size_t>(slot)];
  if (state.source == TokenSource::kPrediction && source != TokenSource::kPrediction) {
    // The predicted output is a text of its own: what follows is not its continuation.
    state.own->finish(state.own_sequence);
    state.own_sequence = state.own->begin();
  }
  state.source = source;
  if (source == TokenSource::kPrediction) {
    const std::size_t room = kPredictionStart - std::min(kPredictionStart, state.prediction_start.size());
    const auto start = tokens.first(std::min(room, tokens.size()));
    state.prediction_start.insert(state.prediction_start.end(), start.begin(), start.end());
  }
  if (source == TokenSource::kPrompt) {
    std::vector<TokenId>& tail = state.prompt_tail;
    const auto last = tokens.last(std::min(tokens.size(), kPromptTail));
    tail.insert(tail.end(), last.begin(), last.end());
    tail.erase(tail.begin(), tail.end() - static_cast<std::ptrdiff_t>(std::min(kPromptTail, tail.size())));
  }
  if (source == TokenSource::kOutput) {
    state.output_count += tokens.size();
    for (const TokenId token : tokens) {
      state.trace.learn(model_, token);
    }
    advance_ghost(state, tokens);
    enter_prompt_tail(state);
    state.tenant->tree.push(state.shared_sequence, tokens);
    state.tenant->tree.enter(state.shared_sequence, tokens.size());
    account(*state.tenant);
    evict(tokens.size() * kEvictPerToken);
  }
  if (source != TokenSource::kOutput) {
    state.ghost_version = 0;  // what the ghost has not seen it is shown again
  }
  state.own->push(state.own_sequence, tokens);
  state.own->enter(state.own_sequence, tokens.size());
  dissolve_some();
}

void SuffixSpeculator::advance_ghost(State& state, std::span<const TokenId> tokens) const {
  if (everyone_ == nullptr || state.ghost_version != everyone_version_) {
    return;
  }
  for (const TokenId token : tokens) {
    state.ghost.advance(everyone_->tree, token);
  }
}

// Everyone's corpora are no source while they change: a ghost would have to be made anew at each step.
std::span<const DraftSource> SuffixSpeculator::sources_of(State& state) {
  sources_ = {{{state.own.get(), state.own_sequence}, {&state.tenant->tree, state.shared_sequence}, {}}};
  if (everyone_ == nullptr || everyone_->users > 0 || everyone_->tree.tokens() == 0) {
    return std::span<const DraftSource>(sources_).first(2);
  }
  if (state.ghost_version != everyone_version_) {
    state.ghost_version = everyone_version_;
    state.ghost.clear();
    const std::span<const TokenId> text = state.own->text(state.own_sequence);
    advance_ghost(state, text.last(std::min(text.size(), static_cast<std::size_t>(options_.depth))));
  }
  sources_[2] = {&everyone_->tree, 0, &state.ghost};
  return sources_;
}

void SuffixSpeculator::enter_prompt_tail(State& state) {
  state.tenant->tree.push(state.shared_sequence, state.prompt_tail);
  state.tenant->tree.enter(state.shared_sequence, state.prompt_tail.size());
  state.prompt_tail.clear();
}

void SuffixSpeculator::propose(SequenceSlot slot, std::int32_t draft_max, float survival_min, DraftTree& tree) {
  State& state = *states_[static_cast<std::size_t>(slot)];
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

// The outcome is learnt from the tokens themselves (observe), verified or not.
void SuffixSpeculator::verified(SequenceSlot /*slot*/, const DraftTree& /*tree*/,
                                std::span<const std::int32_t> /*path*/) {}

void SuffixSpeculator::end(SequenceSlot slot, std::span<const TokenId> rest) {
  std::unique_ptr<State> state = std::move(states_[static_cast<std::size_t>(slot)]);
  COPPICE_CHECK(state != nullptr, "a slot that has begun ends");
  Tenant& tenant = *state->tenant;
  if (rest.empty() || rests_ + rest.size() > kRestsMax || bytes_ > options_.memory_bytes) {
    tenant.tree.finish(state->shared_sequence);
    keep(tenant, state->shared_sequence);
    --tenant.users;
  } else {  // the tenant's user is the text now
    std::vector<TokenId> text = std::move(state->prompt_tail);
    text.insert(text.end(), rest.begin(), rest.end());
    rests_ += text.size();
    feeds_.push_back({.tenant = &tenant,
                      .library = nullptr,
                      .text = std::make_shared<const std::vector<TokenId>>(std::move(text)),
                      .sequence = state->shared_sequence,
                      .is_begun = true,
                      .is_rest = true});
  }
  account(tenant);
  evict(kEvictAtEnd);
  dissolving_.push_back(std::move(state->own));
  dissolve_some();
}

void SuffixSpeculator::account(Tenant& tenant) {
  bytes_ -= tenant.bytes;
  tenant.bytes = tenant.tree.bytes();
  bytes_ += tenant.bytes;
}

void SuffixSpeculator::keep(Tenant& tenant, SuffixTree::SequenceId sequence) {
  tenant.finished.push_back(sequence);
  ages_.push_back(&tenant);
}

// While the trees are too large: the oldest output of all, a part at a time, and its tenant with the last of them.
void SuffixSpeculator::evict(std::size_t suffixes_max) {
  while (suffixes_max > 0 && !ages_.empty() && (evicting_ || bytes_ > options_.memory_bytes)) {
    Tenant& tenant = *ages_.front();
    const std::size_t before = tenant.tree.tokens();
    evicting_ = !tenant.tree.remove(tenant.finished.front(), suffixes_max);
    suffixes_max -= std::min(suffixes_max, std::max<std::size_t>(before - tenant.tree.tokens(), 1));
    account(tenant);
    if (evicting_) {
      continue;
    }
    tenant.finished.pop_front();
    ages_.pop_front();
    if (tenant.finished.empty() && tenant.users == 0 && tenant.corpus_texts == 0) {
      bytes_ -= tenant.bytes;
      tenants_.erase(tenants_.find(tenant.name));
    }
  }
}

void SuffixSpeculator::dissolve_some() {
  for (int i = 0; i < kDissolvePerCall && !dissolving_.empty(); ++i) {
    if (!dissolving_.back()->dissolve()) {
      dissolving_.pop_back();
    }
  }
}

std::size_t SuffixSpeculator::tokens() const {
  std::size_t sum = everyone_ == nullptr ? 0 : everyone_->tree.tokens();
  for (const auto& [name, tenant] : tenants_) {
    sum += tenant->tree.tokens();
  }
  return sum;
}

std::size_t SuffixSpeculator::own_bytes(SequenceSlot slot) const {
  return states_[static_cast<std::size_t>(slot)]->own->bytes();
}

}  // namespace coppice::engine
