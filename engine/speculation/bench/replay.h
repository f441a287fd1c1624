// Replay: recorded outputs run through a speculator in the order in which they stand, each against nothing but what
// came before it, as a server would have seen them one after the other. What is measured: tokens a step, guesses a
// step, the time that appending and proposing take, memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "engine/speculation/suffix_speculator.h"

namespace coppice::engine {

struct RecordedSequence {
  std::vector<TokenId> prompt;
  std::vector<TokenId> output;
};

// One sequence a line: token ids with blanks between, " | " between prompt and output; without it the first
// `prompt_fraction` of a line is its prompt. ERRORS: NotFound, InvalidArgument (names the line).
absl::StatusOr<std::vector<RecordedSequence>> read_sequences(const std::string& path, double prompt_fraction);

struct ReplayResult {
  std::uint64_t sequences = 0;
  std::uint64_t tokens = 0;  // of outputs
  std::uint64_t steps = 0;
  std::uint64_t proposed = 0;
  std::uint64_t accepted = 0;
  double expected = 0;              // sum of the proposals' survivals: what the speculator thought would be accepted
  double append_us_per_token = 0;   // outputs into both trees
  double observe_us_per_token = 0;  // that, learning from what came true, and freeing ended sequences' trees
  double prompt_us_per_token = 0;   // prompts, the own tree
  double speculate_us_p50 = 0;
  double speculate_us_p99 = 0;
  double speculate_us_mean = 0;
  double bytes_per_token = 0;      // of the shared tree, at the end
  double own_bytes_per_token = 0;  // of the sequences' own trees, at their ends

  double tokens_per_step() const { return static_cast<double>(tokens) / static_cast<double>(steps); }
  double proposed_per_step() const { return static_cast<double>(proposed) / static_cast<double>(steps); }
  double acceptance() const {
    return proposed == 0 ? 0 : static_cast<double>(accepted) / static_cast<double>(proposed);
  }
};

// `survival_min` as the engine would pass it.
ReplayResult replay(std::span<const RecordedSequence> sequences, const SuffixSpeculatorOptions& options,
                    float survival_min);

}  // namespace coppice::engine
