// The loop is an Asio context with one thread; Asio stays inside this file.
#include "server/grpc/task_loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

namespace coppice::server {

struct TaskLoop::State {
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{context.get_executor()};
  std::thread thread{[this] { context.run(); }};
};

TaskLoop::TaskLoop() : state_(std::make_unique<State>()) {}

TaskLoop::~TaskLoop() {
  state_->guard.reset();
  state_->thread.join();
}

void TaskLoop::post(std::function<void()> task) {
  boost::asio::post(state_->context, std::move(task));
}

}  // namespace coppice::server
