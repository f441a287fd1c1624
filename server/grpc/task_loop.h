// TaskLoop: one thread that runs posted tasks in order. The gRPC door keeps all its sessions on it, so that callbacks
// of gRPC's many threads never meet in a session.
#pragma once

#include <functional>
#include <memory>

namespace coppice::server {

// Owner: the door. Thread: post() from any; tasks run one at a time on the loop's own thread.
class TaskLoop {
 public:
  TaskLoop();
  ~TaskLoop();  // runs what was posted, then joins
  TaskLoop(const TaskLoop&) = delete;
  TaskLoop& operator=(const TaskLoop&) = delete;

  void post(std::function<void()> task);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace coppice::server
