// DeferredHandler: a route whose work is done by the pool: parsing, rendering, tokenising. What is left for the I/O
// thread is to send what came out, or to go on with the handler that came out.
#pragma once

#include <functional>
#include <memory>

#include "server/http/pool_task.h"
#include "server/http/route_call.h"
#include "server/sessions/prepared_request.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

// Owner: the connection. Thread: the connection's.
class DeferredHandler final : public RequestHandler {
 public:
  // Answers, or returns the handler that will. On the connection's thread.
  using Finish = std::function<std::unique_ptr<RequestHandler>()>;
  // The work. On the pool; it may use the call, which nothing else touches meanwhile, but not its exchange.
  using Work = std::function<Finish(const JobContext& job)>;
  using Refuse = std::function<void(const openai::ApiError& error)>;

  // Starts `work` on the server's pool; where there is none, as in tests, and for bodies of at most `here_max` bytes
  // (kNever: none), it is done at once. Refusals (429 when the pool is full, 500) go through `refuse`.
  static constexpr std::int64_t kNever = -1;
  static std::unique_ptr<RequestHandler> start(ServerState& state, const CallPointer& call, std::int64_t here_max,
                                               Work work, const Refuse& refuse);

  // Calls `begin` at once with what brings the end to the connection's thread: to be called on any thread, once.
  using Bring = std::function<void(Finish)>;
  static std::unique_ptr<RequestHandler> wait_for(ServerState& state, const CallPointer& call, const Refuse& refuse,
                                                  const std::function<void(Bring)>& begin);

  DeferredHandler(ServerState& state, CallPointer call, const Refuse& refuse);
  ~DeferredHandler() override;

  void on_quiet() override {
    if (next_ != nullptr) {
      next_->on_quiet();
    }
  }
  void on_drained() override {
    if (next_ != nullptr) {
      next_->on_drained();
    }
  }

 private:
  void finish(const Finish& finish);

  ServerState& state_;
  const CallPointer call_;
  bool is_finished_ = false;
  std::unique_ptr<RequestHandler> next_;
  PoolTask task_;
};

}  // namespace coppice::server
