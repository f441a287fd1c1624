// EngineThread: the thread that steps an Engine, and nothing else.
#pragma once

#include <atomic>
#include <thread>

#include "engine/engine.h"

namespace coppice::engine {

// Owner: the program's main object; the engine outlives it. Thread: made and destroyed by one thread.
class EngineThread {
 public:
  explicit EngineThread(Engine& engine);
  // Ends after the step in progress; requests that are still live stay in the engine, unfinished.
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

 private:
  void run();

  Engine& engine_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace coppice::engine
