// StubEngine: an engine without a model, for measuring what stands in front of one. Once a period it emits one token of
// every request; when, it notes on a FrontBoard.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <mutex>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "server/front_bench/front_board.h"

namespace coppice::server {

// Owner: run_front_bench(). A request's seed is the number of its stream on the board.
class StubEngine final : public engine::Engine {
 public:
  StubEngine(FrontBoard& board, TokenId token, std::chrono::nanoseconds period)
      : board_(board), token_(token), period_(period), next_(Clock::now()) {}

  engine::Overload submit_all(std::vector<engine::Request> requests) override {
    for (engine::Request& request : requests) {
      const auto stream = static_cast<std::int32_t>(request.sampling.seed.value_or(0));
      board_.submitted(stream) = FrontBoard::now();
      const std::lock_guard<std::mutex> lock(mutex_);
      waiting_.push_back({stream, 0, std::move(request)});
    }
    work_.notify_one();
    return {};
  }
  void cancel(engine::RequestId request, std::int32_t /*choice*/) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_.push_back(request);
  }
  bool learn(engine::Corpus /*corpus*/) override { return true; }
  bool forget(engine::Corpus /*corpus*/) override { return true; }
  std::future<engine::Learned> capture() override { return {}; }
  absl::Status restore(engine::Learned /*learned*/) override { return absl::OkStatus(); }
  engine::EngineStats stats() const override { return {}; }
  engine::EnginePulse pulse() const override { return {}; }

  bool step() override;
  void wait_for_work() override {
    std::unique_lock<std::mutex> lock(mutex_);
    work_.wait(lock, [this] { return !waiting_.empty() || is_stopped_; });
  }
  void stop_waiting() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      is_stopped_ = true;
    }
    work_.notify_one();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Stream {
    std::int32_t number = 0;
    std::int32_t emitted = 0;
    engine::Request request;
  };

  FrontBoard& board_;
  const TokenId token_;
  const std::chrono::nanoseconds period_;
  Clock::time_point next_;       // when the next tokens are due
  std::vector<Stream> running_;  // the engine thread's
  engine::Outbox outbox_;        // likewise
  std::mutex mutex_;
  std::condition_variable work_;
  std::vector<Stream> waiting_;               // guarded by mutex_
  std::vector<engine::RequestId> cancelled_;  // likewise
  bool is_stopped_ = false;                   // likewise
};

}  // namespace coppice::server
