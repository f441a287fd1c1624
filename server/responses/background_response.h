// BackgroundResponse: a response that is made without a client that waits. The client fetches it from the store, where
// it can be cancelled, too.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proto/openai/responses_writer.h"
#include "server/sessions/session.h"
#include "server/sessions/session_hub.h"
#include "server/stored/response_store.h"

namespace coppice::server {

// Owner: its hub. Thread: the hub's.
class BackgroundResponse final : public DetachedSession, public OutputSink {
 public:
  struct Order {
    std::string tenant;
    std::string request_id;
    std::string input;  // the request's own items as JSON
    TurnPointer previous;
    openai::ResponseHead head;
    std::shared_ptr<MemoryBudget::Lease> memory;      // may be null
    std::function<void(std::function<void()>)> post;  // runs a task on the hub's thread; may be called on any
  };

  // Starts it; `queued` becomes the object as it is now. The host, the hub and the store outlive it. ERRORS: 429, from
  // the store or the engine.
  static openai::MaybeError start(const ModelHost& host, SessionHub& hub, ResponseStore& store, Order order,
                                  PreparedRequest prepared, std::string& queued);

  BackgroundResponse(const ModelHost& host, SessionHub& hub, ResponseStore& store, Order order);

  const std::string& name() const override { return writer_.id(); }
  bool ended() const override { return session_.ended(); }

  void on_begin(const openai::AnswerUsage& known) override;
  void on_delta(openai::ChoiceDelta /*delta*/) override {}
  void on_done(openai::Answer answer) override;
  void on_error(openai::ApiError error) override;
  void on_flush() override {}

 private:
  void log(const char* how) const;

  ResponseStore& store_;
  const std::string tenant_;
  const std::string request_id_;
  const openai::ResponsesWriter writer_;
  Session session_;  // last: its destructor cancels while everything else still stands
};

}  // namespace coppice::server
