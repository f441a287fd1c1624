// An engine that does what the test says: it keeps what it was given and sends the events it is told to send.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace coppice::engine {

// Thread: the test's.
class ScriptedEngine final : public Engine {
 public:
  Overload submit_all(std::vector<Request> submitted) override {
    if (overload.exists()) {
      return overload;
    }
    if (requests.size() + submitted.size() > accepts_max) {
      return {OverloadReason::kQueue};
    }
    std::move(submitted.begin(), submitted.end(), std::back_inserter(requests));
    return {};
  }
  void cancel(RequestId request, std::int32_t choice) override { cancelled.emplace_back(request, choice); }
  bool learn(Corpus corpus) override {
    learned.push_back(std::move(corpus));
    return true;
  }
  bool forget(Corpus corpus) override {
    forgotten.push_back(std::move(corpus));
    return true;
  }
  std::future<Learned> capture() override {
    std::promise<Learned> captured;
    captured.set_value(to_capture);
    return captured.get_future();
  }
  absl::Status restore(Learned kept) override {
    restored = std::move(kept);
    return absl::OkStatus();
  }
  EngineStats stats() const override { return {}; }
  EnginePulse pulse() const override { return {}; }
  bool step() override { return false; }
  void wait_for_work() override {}
  void stop_waiting() override {}

  // Sends one event of request number `index`.
  void send(std::size_t index, Event event) {
    event.request = requests[index].id;
    std::vector<Event> events;
    events.push_back(std::move(event));
    requests[index].events->append(std::move(events));
  }

  // Tokens with logprob -id/10 of a choice, and maybe its end.
  void send_tokens(std::size_t index, std::int32_t choice, const std::vector<TokenId>& tokens,
                   FinishReason finish = FinishReason::kNone) {
    Event event;
    event.choice = choice;
    for (const TokenId token : tokens) {
      TokenInfo info;
      info.token = token;
      info.logprob = -0.1F * static_cast<float>(token);
      event.tokens.push_back(info);
    }
    event.finish = finish;
    if (finish != FinishReason::kNone) {
      event.usage.prompt_tokens = static_cast<std::int32_t>(requests[index].prompt.size());
      event.usage.cached_tokens = 1;
      event.usage.drafted_tokens = 5;
      event.usage.accepted_tokens = 2;
    }
    send(index, std::move(event));
  }

  std::size_t accepts_max = 1000;
  Overload overload;  // what every request meets
  std::vector<Request> requests;
  std::vector<std::pair<RequestId, std::int32_t>> cancelled;
  std::vector<Corpus> learned;
  std::vector<Corpus> forgotten;
  Learned to_capture;
  Learned restored;
};

}  // namespace coppice::engine
