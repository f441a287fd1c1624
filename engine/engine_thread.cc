// The loop of the engine's thread.
#include "engine/engine_thread.h"

#include <pthread.h>

namespace coppice::engine {

EngineThread::EngineThread(Engine& engine) : engine_(engine), thread_([this] { run(); }) {}

EngineThread::~EngineThread() {
  stop_.store(true);
  engine_.stop_waiting();
  thread_.join();
}

void EngineThread::run() {
  pthread_setname_np(pthread_self(), "engine");  // for ps, top and debuggers
  while (!stop_.load()) {
    if (!engine_.step()) {
      engine_.wait_for_work();
    }
  }
}

}  // namespace coppice::engine
