// RequestDesk: the life of requests and their choices, from submission to the last event: seeds, siblings, deadlines,
// cancels, ends, and the events that report them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "engine/constraints.h"
#include "engine/drafter.h"
#include "engine/events.h"
#include "engine/limits.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/stats.h"
#include "engine/step_pipeline.h"
#include "engine/waiting_room.h"
#include "models/model_config.h"

namespace coppice::engine {

// The parts of the engine that a sequence enters when it begins and leaves when it ends.
struct SequenceHomes {
  Scheduler& scheduler;
  Sampler& sampler;
  Constraints& constraints;
  Drafter& drafter;
  StepPipeline& pipeline;
};

// Owner: EngineCore. Thread: the engine's, except waiting_room().
class RequestDesk {
 public:
  RequestDesk(const Limits& limits, const EngineOptions& options, const models::ModelConfig& model,
              RequestTable& requests, SequenceTable& sequences, const SequenceHomes& homes, EngineStats& stats,
              const base::Clock& clock);

  // Any thread. Where requests wait that were submitted and have not run.
  WaitingRoom& waiting_room() { return waiting_room_; }

  // Begins a request that entered the waiting room when it was submitted; one that cannot run is refused with an event.
  void start(Request&& request, base::Clock::TimePoint submitted);
  // Ends one choice, or all (choice = -1). Unknown requests are ignored.
  void cancel(RequestId id, std::int32_t choice);
  // Ends requests whose deadline is not after `now`.
  void expire(base::Clock::TimePoint now);
  // A sequence of the request has run, in a step that began `at`; only the first time counts.
  void begin_service(RequestState& state, base::Clock::TimePoint at);
  // `parent` has computed the prompt: its dormant siblings fork from it.
  void fork_siblings(const Sequence& parent);
  // Ends a sequence: gives up what it holds and reports `reason`.
  void finish(Sequence& sequence, FinishReason reason, const std::string& error, Fault fault = Fault::kEngine);

  // The sequence's event of this step.
  Event& event_of(Sequence& sequence);
  // Hands the events to the front end's queues and forgets the requests that ended.
  void send_events();
  // Frees the memory of the most choices that ever waited. REQUIRES: no request lives, and its events are sent.
  void shrink() { outbox_.shrink(); }

 private:
  void leave_waiting_room(RequestState& state, base::Clock::TimePoint at);
  void refuse(RequestState& state, const std::string& reason);
  std::uint64_t seed_of(const RequestState& state) const;
  void open_choices(RequestState& state, std::int32_t place);
  void activate(Sequence& sequence, RequestState& state);
  void promote_sibling(RequestState& state);
  void end_choices(RequestState& state, std::int32_t choice, FinishReason reason);
  void close(RequestState& state);

  const Limits limits_;
  const models::ModelConfig model_;
  const std::uint64_t seed_;
  const bool seed_given_;
  RequestTable& requests_;
  SequenceTable& sequences_;
  const SequenceHomes homes_;
  EngineStats& stats_;
  const base::Clock& clock_;
  WaitingRoom waiting_room_;
  absl::flat_hash_map<RequestId, std::int32_t> by_id_;
  std::uint64_t arrivals_ = 0;
  std::int32_t deadlines_ = 0;  // live requests that have one
  Outbox outbox_;
  std::vector<std::int32_t> retired_;  // requests whose last event is in the outbox
};

}  // namespace coppice::engine
