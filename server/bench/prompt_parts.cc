// Pseudo-random words and token ids, and the body that every request of a load run has.
#include "server/bench/prompt_parts.h"

#include <algorithm>

#include "base/random.h"

namespace coppice::server {

using nlohmann::json;

std::string random_words(std::int64_t count, std::uint64_t seed, std::uint64_t stream) {
  static constexpr const char* kWords[] = {"river",  "stone", "light", "green",   "house",  "winter",
                                           "little", "paper", "north", "morning", "garden", "window",
                                           "silver", "quiet", "story", "road"};
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) {
    text += kWords[base::philox4x32(seed, static_cast<std::uint64_t>(i), stream)[0] % 16];
    text += ' ';
  }
  return text;
}

void append_random_ids(json& ids, std::int64_t count, std::int64_t vocab, std::uint64_t seed, std::uint64_t stream) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t draw = base::philox4x32(seed, static_cast<std::uint64_t>(i), stream)[0];
    ids.push_back(3 + draw % static_cast<std::uint32_t>(std::max<std::int64_t>(1, vocab - 3)));
  }
}

json request_body(const LoadOptions& options, std::int64_t max_tokens) {
  json body = {{"model", options.model},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}},
               {"temperature", 0},
               {"max_tokens", max_tokens}};
  if (options.ignore_eos) {
    body["ignore_eos"] = true;
  }
  return body;
}

}  // namespace coppice::server
