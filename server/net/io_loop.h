// IoLoop: a thread and its Asio event loop. What a handler throws, out of memory at worst, costs what it was about: the
// thread goes on.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <thread>

namespace coppice::server {

// Owner: a front end. Thread: its owner's; the context is Asio's to share.
class IoLoop {
 public:
  // `name` begins the lines about exceptions; a literal.
  explicit IoLoop(const char* name) : name_(name) {}
  ~IoLoop() { stop(); }
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  boost::asio::io_context& context() { return context_; }
  const char* name() const { return name_; }

  void start();
  // No handler begins any more; the thread has ended. What waits is destroyed with the loop.
  void stop();
  // Runs what was posted, and what that posts, and ends the thread.
  void finish();

 private:
  void run();

  const char* const name_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keeps_running_{context_.get_executor()};
  std::thread thread_;
};

// For asio::co_spawn(): logs what a coroutine threw. `name` as above.
class LogException {
 public:
  explicit LogException(const char* name) : name_(name) {}
  void operator()(const std::exception_ptr& exception) const;

 private:
  const char* name_;
};

}  // namespace coppice::server
