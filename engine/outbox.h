// Outbox: the news of one step, one event a choice, handed to the front end's queues at the step's end: one lock and at
// most one wake-up a queue and step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/events.h"

namespace coppice::engine {

// Owner: the engine. Thread: the engine's. The queues must live until flush().
class Outbox {
 public:
  // A new event; the index is good until flush().
  std::int32_t add(EventQueue* queue, RequestId request, std::int32_t choice) {
    Letter& letter = letters_.emplace_back();
    letter.queue = queue;
    letter.event.request = request;
    letter.event.choice = choice;
    return static_cast<std::int32_t>(letters_.size()) - 1;
  }
  Event& operator[](std::int32_t index) { return letters_[static_cast<std::size_t>(index)].event; }

  void flush() {
    std::stable_sort(letters_.begin(), letters_.end(),
                     [](const Letter& a, const Letter& b) { return std::less<>{}(a.queue, b.queue); });
    for (auto first = letters_.begin(); first != letters_.end();) {
      std::vector<Event> batch;
      auto last = first;
      for (; last != letters_.end() && last->queue == first->queue; ++last) {
        batch.push_back(std::move(last->event));
      }
      first->queue->append(std::move(batch));
      first = last;
    }
    letters_.clear();
  }

 private:
  struct Letter {
    EventQueue* queue = nullptr;
    Event event;
  };
  std::vector<Letter> letters_;
};

}  // namespace coppice::engine
