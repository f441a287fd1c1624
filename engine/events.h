// Events: the engine's output, in batches, once a step, and the way out: the engine gathers a step's events in its
// Outbox, which appends them to the EventQueue of each I/O thread.
#pragma once

#include <algorithm>
#include <cstddef>
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
  std::int32_t prompt_tokens = 0;  // of this choice
  // Prompt tokens whose KV came from the prefix cache. Of a branch that was forked: those behind Request::prompt.
  std::int32_t cached_tokens = 0;
  std::int32_t cache_write_tokens = 0;  // prompt tokens in pages that this choice added to the prefix cache
  std::int32_t completion_tokens = 0;   // of this choice
  std::int32_t drafted_tokens = 0;      // verified by the model, from whatever text they were drafted
  std::int32_t accepted_tokens = 0;     // of them: right
};

// Whose fault an error is.
enum class Fault : std::uint8_t {
  kEngine,
  kRequest,  // it was refused
  kModel,    // its logits are not numbers
  kMemory,   // there is no room for it in the KV cache
};

// What one step brought for one choice of one request.
struct Event {
  RequestId request = 0;
  std::int32_t choice = 0;
  std::vector<TokenInfo> tokens;              // in order; a stop token is included, the front end drops its text
  std::vector<TokenInfo> prompt;              // prompt logprobs, once, with choice 0's first event
  std::vector<float> reading;                 // what a reading request asked for, with the last event
  FinishReason finish = FinishReason::kNone;  // not kNone: the last event of this choice
  std::string error;                          // for kError: one line for the client
  Fault fault = Fault::kEngine;               // for kError
  Usage usage;                                // filled in the last event; cached_tokens in all
  std::uint64_t queued_ns = 0;                // from its submission to the first step that ran it
};

// One queue for each I/O thread: the engine appends under a short lock, the I/O thread swaps the whole vector out.
// `wake` is called only when the queue turns from empty to non-empty and must not block. Thread: any number of readers'
// swaps and the engine's appends; internally locked.
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

// Where the event of a choice lies in the outbox, as its sequence remembers it. Writer: the Outbox.
struct OutboxEntry {
  std::uint64_t flush = 0;  // valid until this flush
  std::int32_t box = 0;
  std::int32_t index = 0;
};

// The events of a step, one a choice, handed to the front end's queues while the next step runs: one lock and at most
// one wake-up a queue and step. Owner: RequestDesk. Thread: the engine's. The queues must live until flush().
class Outbox {
 public:
  // The event that `entry` remembers, or a new one behind the others of its queue.
  Event& event(OutboxEntry& entry, EventQueue* queue, RequestId request, std::int32_t choice) {
    if (entry.flush == flushes_) {
      return boxes_[static_cast<std::size_t>(entry.box)].events[static_cast<std::size_t>(entry.index)];
    }
    entry.flush = flushes_;
    entry.box = box_of(queue);
    std::vector<Event>& events = boxes_[static_cast<std::size_t>(entry.box)].events;
    entry.index = static_cast<std::int32_t>(events.size());
    Event& event = events.emplace_back();
    event.request = request;
    event.choice = choice;
    return event;
  }

  // Frees the memory of the most events that a step ever had. REQUIRES: flushed.
  void shrink() { boxes_ = std::vector<Box>(); }

  void flush() {
    for (std::size_t i = 0; i < used_; ++i) {
      Box& box = boxes_[i];
      const std::size_t count = box.events.size();
      box.queue->append(std::move(box.events));
      box.events = {};
      box.events.reserve(count);  // the next step has about as many
    }
    used_ = 0;
    ++flushes_;
  }

 private:
  struct Box {
    EventQueue* queue = nullptr;
    std::vector<Event> events;
  };

  // Queues are as many as I/O threads, so few that looking at each is fastest.
  std::int32_t box_of(EventQueue* queue) {
    std::size_t box = 0;
    while (box < used_ && boxes_[box].queue != queue) {
      ++box;
    }
    if (box == used_) {
      if (used_ == boxes_.size()) {
        boxes_.emplace_back();
      }
      boxes_[used_++].queue = queue;
    }
    return static_cast<std::int32_t>(box);
  }

  std::vector<Box> boxes_;  // the first used_ have events
  std::size_t used_ = 0;
  std::uint64_t flushes_ = 1;  // the next one's number
};

}  // namespace coppice::engine
