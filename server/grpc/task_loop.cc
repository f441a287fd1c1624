// The loop is Asio's, behind a plain interface; Asio stays inside this file.
#include "server/grpc/task_loop.h"

#include <boost/asio/post.hpp>

#include "server/net/io_loop.h"

namespace coppice::server {

struct TaskLoop::State {
  IoLoop io{"grpc"};
};

TaskLoop::TaskLoop() : state_(std::make_unique<State>()) {
  state_->io.start();
}

TaskLoop::~TaskLoop() {
  state_->io.finish();
}

void TaskLoop::post(std::function<void()> task) {
  boost::asio::post(state_->io.context(), std::move(task));
}

}  // namespace coppice::server
