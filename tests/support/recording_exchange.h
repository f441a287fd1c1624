// An exchange that keeps what a handler sends, and the tasks that the pool posts, for tests of routes without a socket.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "server/http/exchange.h"

namespace coppice::server {

// Thread: the test's; the poster's, any.
class RecordingExchange final : public Exchange {
 public:
  void respond(HttpResponse response) override { answer = std::move(response); }
  void begin_stream(const HttpResponse& head) override { answer = head; }
  std::string_view client() const override { return "127.0.0.1"; }
  void write(std::string_view bytes) override { stream += bytes; }
  void end_stream(StreamEnd /*end*/) override { is_ended = true; }
  void add_header(std::string name, std::string value) override {
    added.emplace_back(std::move(name), std::move(value));
  }
  Poster poster() override {
    return [this](std::function<void()> task) {
      const std::lock_guard<std::mutex> lock(mutex);
      posted.push_back(std::move(task));
    };
  }

  std::string header(const std::string& name) const {
    for (const auto& [key, value] : answer->headers) {
      if (key == name) {
        return value;
      }
    }
    return "";
  }

  void reset() {
    answer.reset();
    stream.clear();
    is_ended = false;
    added.clear();
  }
  // Waits for the pool's next result and handles it.
  void run_posted() {
    std::function<void()> task;
    while (task == nullptr) {
      std::this_thread::yield();
      const std::lock_guard<std::mutex> lock(mutex);
      if (!posted.empty()) {
        task = std::move(posted.front());
        posted.erase(posted.begin());
      }
    }
    task();
  }

  std::mutex mutex;
  std::vector<std::function<void()>> posted;
  std::vector<std::pair<std::string, std::string>> added;
  std::optional<HttpResponse> answer;
  std::string stream;
  bool is_ended = false;
};

}  // namespace coppice::server
