// A look at what a compiled grammar costs before any answer is held to it: it is followed on the engine's thread, and
// meanwhile no other request goes on.
#pragma once

#include <chrono>

#include "absl/status/status.h"
#include "text/grammar/grammar.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// What a mask may take on average. Most take 0.01 to 0.2 ms for 150,000 tokens; a step takes some milliseconds.
inline constexpr std::chrono::milliseconds kMaskTimeMax{20};

// Processor time of this thread: others on the machine do not count.
std::chrono::nanoseconds thread_time();

// Follows the grammar along some texts, two of them long. ERRORS: OutOfRange when its masks take too long, or when a
// sequence of the engine would fail for its work (grammar_constraint.h); InvalidArgument where no token can go on.
absl::Status try_masks(const text::CompiledGrammar& grammar, const text::Tokenizer& tokenizer,
                       std::chrono::nanoseconds mask_time_max = kMaskTimeMax);

}  // namespace coppice::server
