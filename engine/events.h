// Events: the engine's output, in batches, once a step. One queue per I/O thread: the engine appends under a
// short lock, the I/O thread swaps the whole vector out. `wake` is called only when the queue turns from empty to
// non-empty and must not block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/types.h"
#include "engine/request.h"

namespace coppice::engine {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

// One generated (or, for prompt logprobs, one prompt) token with what was asked about it.
struct TokenInfo {
  TokenId token = 0;
  float logprob = 0;  // 0 unless asked for
  std::vector<TokenLogprob> top;
};

enum class FinishReason : std::uint8_t {
  kNone,
  kStop,       // an end token or a stop token (the last token event carries it)
  kLength,     // max_tokens or the model's context
  kCancelled,  // by the front end: client left, stop string found
  kDeadline,
  kError,  // `error` says what; only this request ends
};

struct Usage {
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_tokens = 0;      // prompt tokens whose KV came from the prefix cache
  std::int32_t completion_tokens = 0;  // of this choice
  std::int32_t accepted_prediction_tokens = 0;
  std::int32_t rejected_prediction_tokens = 0;
};

// What one step brought for one choice of one request.
struct Event {
  RequestId request = 0;
  std::int32_t choice = 0;
  std::vector<TokenInfo> tokens;              // in order; a stop token is included, the front end drops its text
  std::vector<TokenInfo> prompt;              // prompt logprobs, once, with choice 0's first event
  FinishReason finish = FinishReason::kNone;  // not kNone: the last event of this choice
  std::string error;                          // for kError: one line for the client
  bool client_error = false;                  // the request itself was refused (400), not our failure (500)
  Usage usage;                                // filled in the last event
};

// Thread: any number of readers' swaps and the engine's appends; internally locked.
class EventQueue {
 public:
  explicit EventQueue(std::function<void()> wake) : wake_(std::move(wake)) {}

  void append(std::vector<Event>&& events) {
    if (events.empty()) {
      return;
    }
    bool was_empty = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      was_empty = events_.empty();
      if (was_empty) {
        events_.swap(events);
      } else {
        std::move(events.begin(), events.end(), std::back_inserter(events_));
      }
    }
    if (was_empty && wake_) {
      wake_();
    }
  }

  std::vector<Event> take() {
    std::vector<Event> taken;
    const std::lock_guard<std::mutex> lock(mutex_);
    taken.swap(events_);
    return taken;
  }

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<Event> events_;  // guarded by mutex_
};

}  // namespace coppice::engine
