// The promise "same request, same answer, to the bit" as checks: requests that use every sampling feature, and the ways
// of running them whose answers must be the same. Used on the CPU backend (tests/unit/engine), on the emulated GPU
// (tests/simt) and on a real one (tests/gpu).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/support/engine_harness.h"

namespace coppice::testing {

// `count` requests: shared and own prefixes, lengths 1 to 300, greedy and sampled, penalties, logprobs, n = 3.
std::vector<engine::Request> mixed_requests(std::int32_t vocab, std::int32_t count);

// `count` requests with random settings of every sampling parameter. Prompts are prefixes and tails of a few texts, so
// that outputs repeat one another.
std::vector<engine::Request> random_requests(std::int32_t vocab, std::size_t count);

// mixed_requests() of which four in five have a constraint of their own (token_automaton.h), with min_tokens and
// biases, even one that forbids every token. ends: the model's end tokens.
std::vector<engine::Request> constrained_requests(std::int32_t vocab, const std::vector<TokenId>& ends,
                                                  std::int32_t count);

// One request at a time, without cache, sharing or drafts: the answers that all others are compared with.
HarnessOptions alone();

// Every constrained request's answers are what its constraint allows.
void require_allowed(const HarnessRun& run, const std::vector<engine::Request>& requests);

// Each fails the test (Catch2's REQUIRE) at the first answer that differs from `quiet`.
void require_same(const HarnessRun& a, const HarnessRun& b);
// Batches of these sizes, sharing off and on.
void check_batches(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet,
                   std::span<const std::int32_t> batches);
// Prompts in chunks of these sizes.
void check_chunks(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet,
                  std::span<const std::int32_t> chunks);
// So few pages that sequences are preempted.
void check_tiny_pool(HarnessModel& model, const std::vector<engine::Request>& requests, const HarnessRun& quiet,
                     std::int32_t pages);
// Drafts along the known answers and beside them; at least `accepted_least` of their tokens are accepted.
void check_drafts(HarnessModel& model, std::vector<engine::Request> requests, const HarnessRun& quiet,
                  std::uint64_t accepted_least);
// All of these, in batches of up to 32, where steps are planned ahead and where they are not. Returns the quiet run.
HarnessRun check_everything(HarnessModel& model, const std::vector<engine::Request>& requests,
                            std::uint64_t accepted_least);
// Drafts from suffix trees against none.
void check_suffix_drafts(HarnessModel& model, const std::vector<engine::Request>& requests,
                         std::uint64_t accepted_least);

}  // namespace coppice::testing
