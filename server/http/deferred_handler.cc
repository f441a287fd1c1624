// From the connection's thread to the pool and back.
#include "server/http/deferred_handler.h"

#include <utility>

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 1;  // jobs take milliseconds, a second at worst

}  // namespace

DeferredHandler::DeferredHandler(ServerState& state, CallPointer call, const Refuse& refuse)
    : state_(state), call_(std::move(call)), task_(call_->exchange.poster(), [this, refuse](const auto& error) {
        is_finished_ = true;
        refuse(error);
      }) {}

DeferredHandler::~DeferredHandler() {
  if (!is_finished_) {
    state_.metrics.count_answer("http", call_->route, openai::kClientLeftStatus);
  }
}

void DeferredHandler::finish(const Finish& finish) {
  is_finished_ = true;
  next_ = finish();
}

std::unique_ptr<RequestHandler> DeferredHandler::start(ServerState& state, const CallPointer& call,
                                                       std::int64_t here_max, Work work, const Refuse& refuse) {
  const std::size_t bytes = call->request.body.size();
  if (state.work == nullptr || static_cast<std::int64_t>(bytes) <= here_max) {
    return work({nullptr, call->request.memory.get()})();
  }
  auto handler = std::make_unique<DeferredHandler>(state, call, refuse);
  DeferredHandler* const self = handler.get();
  const bool is_queued = handler->task_.start(*state.work, call->tenant, bytes,
                                              [self, call, work = std::move(work)](const auto& cancelled) {
                                                Finish finish = work({&cancelled, call->request.memory.get()});
                                                return [self, finish = std::move(finish)] { self->finish(finish); };
                                              });
  if (is_queued) {
    return handler;
  }
  handler->is_finished_ = true;
  refuse(openai::overloaded("the server is reading as many requests as it may; try again later", kRetryAfterSeconds));
  return nullptr;
}

std::unique_ptr<RequestHandler> DeferredHandler::wait_for(ServerState& state, const CallPointer& call,
                                                          const Refuse& refuse,
                                                          const std::function<void(Bring)>& begin) {
  auto handler = std::make_unique<DeferredHandler>(state, call, refuse);
  begin([self = handler.get(), bring = handler->task_.bringer()](Finish finish) {
    bring([self, finish = std::move(finish)] { self->finish(finish); });
  });
  return handler;
}

}  // namespace coppice::server
