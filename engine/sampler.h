// Sampler: what is remembered of each sequence for drawing its next token (penalty counts, biases, forbidden end
// tokens, seed), as rows the backend understands. The draw itself is the backend's.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/types.h"
#include "engine/events.h"
#include "engine/request.h"
#include "engine/step_plan.h"
#include "kernels/sampling.h"

namespace coppice::engine {

// The seed of choice `choice` of a request with seed `seed`; choice 0 draws as the request with one choice would.
std::uint64_t choice_seed(std::uint64_t seed, std::int32_t choice);

// What the backend said, as the front end hears it.
TokenInfo to_token_info(const kernels::SamplingResult& result, bool with_logprob);

// Owner: the engine. Thread: the engine's. State is keyed by slot, from begin() to end().
class Sampler {
 public:
  explicit Sampler(std::vector<TokenId> eos) : eos_(std::move(eos)) {}

  // `parameters` must outlive the sequence.
  void begin(SequenceSlot slot, const SamplingParameters& parameters, std::uint64_t seed,
             std::span<const TokenId> prompt);
  void end(SequenceSlot slot);
  // A generated token joined the sequence.
  void observe(SequenceSlot slot, TokenId token);

  // True when `token` ends the sequence: a stop token, or the model's end token unless ignored.
  bool is_end(SequenceSlot slot, TokenId token) const;

  // Forget last step's scratch. Rows made before are invalid then.
  void begin_step() { scratch_used_ = 0; }
  // The row that draws the token of index `position` in the sequence, the output_index-th of its output, after `path`:
  // drafted tokens that would be accepted by then. Valid until begin_step() or observe().
  kernels::SamplingRow draw_row(SequenceSlot slot, std::int32_t position, std::int32_t output_index,
                                std::span<const TokenId> path);
  // Whether rows of the sequence depend on tokens before theirs.
  bool counts_tokens(SequenceSlot slot) const { return states_[static_cast<std::size_t>(slot)].penalized; }
  // The row that reports the logprob of prompt token `token`.
  kernels::SamplingRow score_row(SequenceSlot slot, TokenId token) const;

 private:
  struct State {
    const SamplingParameters* parameters = nullptr;
    std::uint64_t seed = 0;
    bool penalized = false;
    std::vector<kernels::TokenCount> counts;
    absl::flat_hash_map<TokenId, std::int32_t> index;  // token -> entry of counts
    std::vector<kernels::TokenBias> biases;
    std::vector<TokenId> ends;  // tokens that end the sequence
  };

  static void count(State& state, TokenId token, std::int32_t output);
  std::span<const kernels::TokenCount> counts_after(const State& state, std::span<const TokenId> path);

  const std::vector<TokenId> eos_;
  std::deque<State> states_;                              // by slot
  std::deque<std::vector<kernels::TokenCount>> scratch_;  // counts of draft nodes in this step
  std::size_t scratch_used_ = 0;
};

}  // namespace coppice::engine
