// Outbox: the output events of a step, one event a choice, handed to the front end's queues while the next step runs:
// one lock and at most one wake-up a queue and step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/events.h"

namespace coppice::engine {

// Where the event of a choice lies in the outbox, as its sequence remembers it. Writer: the Outbox.
struct OutboxEntry {
  std::uint64_t flush = 0;  // valid until this flush
  std::int32_t box = 0;
  std::int32_t index = 0;
};

// Owner: RequestDesk. Thread: the engine's. The queues must live until flush().
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
