// The engine on its own thread, with many threads that submit, cancel and read numbers: for the thread sanitizer.
#include "engine/engine_thread.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

// One front-end thread: its queue, its requests, and what it heard.
class Visitor {
 public:
  Visitor(engine::Engine& engine, engine::RequestId first_id, int requests)
      : engine_(engine), first_id_(first_id), requests_(requests), queue_(std::make_shared<engine::EventQueue>([this] {
          const std::lock_guard<std::mutex> lock(mutex_);
          awake_ = true;
          ready_.notify_one();
        })) {}

  void run() {
    for (int i = 0; i < requests_; ++i) {
      engine::Request request = FakeEngine::request(first_id_ + static_cast<engine::RequestId>(i), 20 + i % 50, 8, i);
      request.events = queue_;
      while (!engine_.submit(request)) {
        std::this_thread::yield();
      }
      if (i % 5 == 0) {
        engine_.cancel(request.id, -1);
      }
      if (i % 8 == 0) {
        collect(i / 2);
        check_running(engine_.stats().running);
      }
    }
    collect(requests_);
  }

  int finished() const { return finished_; }
  int wrong() const { return wrong_; }

 private:
  // Waits until `count` requests have finished.
  void collect(int count) {
    while (finished_ < count) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        ready_.wait(lock, [this] { return awake_; });
        awake_ = false;
      }
      for (const engine::Event& event : queue_->take()) {
        if (event.finish != engine::FinishReason::kNone) {
          ++finished_;
          const bool fine =
              event.finish == engine::FinishReason::kLength || event.finish == engine::FinishReason::kCancelled;
          wrong_ += fine ? 0 : 1;
        }
      }
    }
  }
  void check_running(std::int32_t running) { wrong_ += running < 0 || running > 16 ? 1 : 0; }

  engine::Engine& engine_;
  const engine::RequestId first_id_;
  const int requests_;
  std::mutex mutex_;
  std::condition_variable ready_;
  bool awake_ = false;  // guarded by mutex_
  const std::shared_ptr<engine::EventQueue> queue_;
  int finished_ = 0;
  int wrong_ = 0;
};

}  // namespace

TEST_CASE("many threads use one engine", "[thread]") {
  FakeEngine fake;
  std::vector<std::unique_ptr<Visitor>> visitors;
  for (int i = 0; i < 4; ++i) {
    visitors.push_back(std::make_unique<Visitor>(fake.core(), static_cast<engine::RequestId>(i + 1) * 1000, 100));
  }
  {
    const engine::EngineThread thread(fake.core());
    std::vector<std::thread> threads;
    for (const auto& visitor : visitors) {
      threads.emplace_back([&visitor] { visitor->run(); });
    }
    for (std::thread& one : threads) {
      one.join();
    }
  }
  for (const auto& visitor : visitors) {
    CHECK(visitor->finished() == 100);
    CHECK(visitor->wrong() == 0);
  }
  const engine::EngineStats stats = fake.core().stats();
  CHECK(stats.pages.free + stats.pages.cached == stats.pages.total);
}

TEST_CASE("an engine thread ends although work is left", "[thread]") {
  FakeEngine fake;
  {
    const engine::EngineThread thread(fake.core());
    fake.submit(FakeEngine::request(1, 100, 1900));
  }
  CHECK(fake.core().stats().running <= 1);
}

TEST_CASE("an idle engine thread ends", "[thread]") {
  FakeEngine fake;
  const engine::EngineThread thread(fake.core());
}

}  // namespace coppice::testing
