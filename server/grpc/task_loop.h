// TaskLoop: one thread that runs posted tasks in order. The gRPC server keeps each session on one of its loops, so that
// a session is never entered by two of gRPC's threads.
#pragma once

#include <functional>
#include <memory>

namespace coppice::server {

// Owner: the gRPC server. Thread: post() from any; tasks run one at a time on the loop's own thread.
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
