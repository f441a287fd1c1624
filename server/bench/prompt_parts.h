// The parts that a load run's requests are made of: pseudo-random prompts, and what all bodies have in common.
#pragma once

#include <cstdint>
#include <string>

#include "nlohmann/json.hpp"
#include "server/bench/load.h"

namespace coppice::server {

// `count` pseudo-random words that most tokenizers split into one or two pieces each. The same seed and stream give the
// same words, a longer text begins with the shorter one.
std::string random_words(std::int64_t count, std::uint64_t seed, std::uint64_t stream);

// Likewise `count` token ids of [3, vocab) at the end of a JSON array. REQUIRES: vocab >= 1.
void append_random_ids(nlohmann::json& ids, std::int64_t count, std::int64_t vocab, std::uint64_t seed,
                       std::uint64_t stream);

// A streamed, greedy request for `max_tokens` tokens, yet without its prompt.
nlohmann::json request_body(const LoadOptions& options, std::int64_t max_tokens);

}  // namespace coppice::server
