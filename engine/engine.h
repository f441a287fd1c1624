// Engine: the plain object behind the server. step() takes commands, plans, runs the model, books tokens, emits events.
// Its thread is a few lines around it (engine_thread.h), so the whole of it can be simulated from a seed.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/events.h"
#include "engine/learned.h"
#include "engine/limits.h"
#include "engine/overload.h"
#include "engine/pulse.h"
#include "engine/request.h"
#include "engine/speculation/corpus.h"
#include "engine/stats.h"
#include "engine/view.h"
#include "kernels/backend.h"
#include "models/transformer.h"

namespace coppice::engine {

class StepExecutor;  // step_plan.h: runs a StepPlan on the model; a fake one in tests

// Thread: all methods from one thread, except those marked "any thread".
class Engine {
 public:
  static absl::StatusOr<std::unique_ptr<Engine>> create(const Limits& limits, const EngineOptions& options,
                                                        const models::ModelConfig& model,
                                                        std::unique_ptr<StepExecutor> executor);
  virtual ~Engine() = default;

  // Any thread. Hands requests of one account over, all of them or none: none when the command queue is full, the
  // account's share of the waiting room has no place for them all, or their turn in line comes after the first one's
  // deadline (429). Never blocks. REQUIRES: at least one; they have the same deadline.
  virtual Overload submit_all(std::vector<Request> requests) = 0;
  // The same for one; whether it was taken in.
  bool submit(Request request);
  // Any thread. Ends one choice (or, choice = -1, all) of a request within one step; unknown ids are ignored.
  virtual void cancel(RequestId request, std::int32_t choice) = 0;
  // Any thread. Something to draft from: joins the owner's corpus of that name. False when the command queue is full.
  // Without speculation it is forgotten at once.
  virtual bool learn(Corpus corpus) = 0;
  // Any thread. Drops the owner's corpus of that name, if there is one. False as above.
  virtual bool forget(Corpus corpus) = 0;
  // Any thread. What the engine has learned, copied piece by piece between steps; broken when the engine goes first.
  virtual std::future<Learned> capture() = 0;
  // What an earlier run had learned; each part of it may be empty. REQUIRES: no step has run. ERRORS: InvalidArgument
  // for the parts that cannot be read; they are ignored.
  virtual absl::Status restore(Learned learned) = 0;
  // Any thread. A copy of the numbers as of the last step.
  virtual EngineStats stats() const = 0;
  // Any thread. The tree and the sequences as they were when the last caller asked; null to the first. Asks the engine
  // for a newer view.
  virtual std::shared_ptr<const EngineView> view() { return nullptr; }
  // Any thread. As of now, even when the engine's thread is stuck.
  virtual EnginePulse pulse() const = 0;

  // Runs one step if there is anything to do. Returns false when idle (nothing waiting, running or in flight).
  virtual bool step() = 0;
  // Blocks until a command arrives or `stop_waiting` is called; for the engine thread when step() said idle.
  virtual void wait_for_work() = 0;
  virtual void stop_waiting() = 0;  // any thread
};

}  // namespace coppice::engine
