// Sampler: what is remembered of each sequence for drawing its next token (penalty counts, biases, forbidden end
// tokens, seed), written into plans as the device reads it. The device draws.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/release.h"
#include "base/types.h"
#include "engine/events.h"
#include "engine/request.h"
#include "engine/step_plan.h"
#include "kernels/sampling.h"

namespace coppice::engine {

// The seed of choice `choice` of a request with seed `seed`; choice 0 draws as the request with one choice would.
std::uint64_t choice_seed(std::uint64_t seed, std::int32_t choice);

// A device's result as an event carries it.
TokenInfo to_token_info(const kernels::SamplingResult& result, bool with_logprob);

// Owner: the engine. Thread: the engine's. State is keyed by slot, from begin() to end().
class Sampler {
 public:
  explicit Sampler(std::vector<TokenId> eos) : eos_(std::move(eos)) {}

  // labels: what is read after the last token instead of a draw. REQUIRES: `parameters` and `labels` outlive the
  // sequence.
  void begin(SequenceSlot slot, const SamplingParameters& parameters, std::uint64_t seed,
             std::span<const TokenId> prompt, std::span<const TokenId> labels = {});
  void end(SequenceSlot slot);
  // Frees the memory of the most sequences that ever lived at once. REQUIRES: none lives.
  void shrink() { base::release(states_); }
  // Counts a generated token.
  void observe(SequenceSlot slot, TokenId token);

  // True when `token` ends the sequence: a stop token, or the model's end token unless ignored.
  bool is_end(SequenceSlot slot, TokenId token) const;

  // How to draw the token of index `position` in the sequence, the output_index-th of its output. Appends its lists.
  StepDraw draw(SequenceSlot slot, std::int32_t position, std::int32_t output_index, SamplingLists& lists) const;
  // How to draw after the drafted tokens `path`. REQUIRES: `root` is draw() of the sequence's last token, with its
  // lists in `lists`.
  StepDraw draw_after(SequenceSlot slot, const StepDraw& root, std::int32_t output_index, std::span<const TokenId> path,
                      SamplingLists& lists) const;
  // Counts the sequence's last observed token, which was still being drawn when `draw` was made.
  void count_late(SequenceSlot slot, TokenId token, StepDraw& draw, SamplingLists& lists) const;
  // How to report the logprob of prompt token `token`.
  StepDraw score(SequenceSlot slot, TokenId token) const;
  // How to report the labels' logprobs. Appends its lists. REQUIRES: there are labels.
  StepDraw read(SequenceSlot slot, SamplingLists& lists) const;

 private:
  struct State {
    const SamplingParameters* parameters = nullptr;
    std::uint64_t seed = 0;
    bool penalized = false;
    std::vector<kernels::TokenCount> counts;
    absl::flat_hash_map<TokenId, std::int32_t> index;  // token -> entry of counts
    std::vector<kernels::TokenBias> biases;
    std::vector<TokenId> ends;  // tokens that end the sequence
    std::span<const TokenId> labels;
  };

  static void count(State& state, TokenId token, std::int32_t output);
  static PlanRange append_counts(const State& state, std::span<const TokenId> path, SamplingLists& lists);

  const std::vector<TokenId> eos_;
  std::deque<State> states_;  // by slot
};

}  // namespace coppice::engine
