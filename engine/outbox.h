// Outbox: the news of a step, one event a choice, handed to the front end's queues while the next step runs: one lock
// and at most one wake-up a queue and step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/events.h"

namespace coppice::engine {

// Owner: the engine. Thread: the engine's. The queues must live until flush().
class Outbox {
 public:
  // A new event behind the others of its queue; the place is good until flush().
  EventPlace add(EventQueue* queue, RequestId request, std::int32_t choice) {
    const std::int32_t place = box_of(queue);
    Box& box = boxes_[static_cast<std::size_t>(place)];
    Event& event = box.events.emplace_back();
    event.request = request;
    event.choice = choice;
    return {place, static_cast<std::int32_t>(box.events.size()) - 1};
  }
  Event& operator[](EventPlace place) {
    return boxes_[static_cast<std::size_t>(place.box)].events[static_cast<std::size_t>(place.index)];
  }

  void flush() {
    for (std::size_t i = 0; i < used_; ++i) {
      Box& box = boxes_[i];
      const std::size_t count = box.events.size();
      box.queue->append(std::move(box.events));
      box.events = {};
      box.events.reserve(count);  // the next step's news are about as many
    }
    used_ = 0;
  }

 private:
  struct Box {
    EventQueue* queue = nullptr;
    std::vector<Event> events;
  };

  // Queues are as many as I/O threads, so few that looking at each is fastest.
  std::int32_t box_of(EventQueue* queue) {
    std::size_t place = 0;
    while (place < used_ && boxes_[place].queue != queue) {
      ++place;
    }
    if (place == used_) {
      if (used_ == boxes_.size()) {
        boxes_.emplace_back();
      }
      boxes_[used_++].queue = queue;
    }
    return static_cast<std::int32_t>(place);
  }

  std::vector<Box> boxes_;  // the first used_ have news
  std::size_t used_ = 0;
};

}  // namespace coppice::engine
