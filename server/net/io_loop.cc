// Running, and running on.
#include "server/net/io_loop.h"

#include <spdlog/spdlog.h>

namespace coppice::server {

void IoLoop::start() {
  thread_ = std::thread([this] { run(); });
}

void IoLoop::run() {
  while (true) {
    try {
      context_.run();
      return;
    } catch (const std::exception& error) {
      spdlog::error("{}: a handler failed: {}", name_, error.what());
    }
  }
}

void IoLoop::stop() {
  context_.stop();
  finish();
}

void IoLoop::finish() {
  keeps_running_.reset();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void LogException::operator()(const std::exception_ptr& exception) const {
  if (exception == nullptr) {
    return;
  }
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    spdlog::error("{}: a connection failed: {}", name_, error.what());
  }
}

}  // namespace coppice::server
