// Requests that read, for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/request.h"

namespace coppice::testing {

// `count` branches of a prompt of `prompt` tokens: some share their first words, one is a single token.
inline engine::Request reading_request(engine::RequestId id, engine::Reading reading, std::int32_t prompt,
                                       std::int32_t count, std::int32_t vocab) {
  engine::Request request;
  request.id = id;
  request.sampling.max_tokens = 0;
  for (std::int32_t i = 0; i < prompt; ++i) {
    request.prompt.push_back((i * 7 + i * i % 11) % vocab);
  }
  request.reading = reading;
  request.choices = count;
  for (std::int32_t i = 0; i < count; ++i) {
    engine::Branch& branch = request.branches.emplace_back();
    for (std::int32_t k = 0; k <= (i * 7) % 30; ++k) {
      branch.tokens.push_back((k < 4 ? k + 5 : i * 11 + k * 3) % vocab);
    }
    for (std::int32_t k = 0; k < 2 + i % 3 && reading == engine::Reading::kLabels; ++k) {
      branch.labels.push_back((i + 5 * k) % vocab);
    }
  }
  return request;
}

}  // namespace coppice::testing
