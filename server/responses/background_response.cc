// From the store's entry to its end.
#include "server/responses/background_response.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace coppice::server {

openai::MaybeError BackgroundResponse::start(const ModelHost& host, SessionHub& hub, ResponseStore& store, Order order,
                                             PreparedRequest prepared, std::string& queued) {
  ResponseStore::Running running;
  running.input = std::move(order.input);
  running.previous = std::move(order.previous);
  running.stop = [&hub, post = order.post, id = order.head.id] { post([&hub, id] { hub.drop(id); }); };
  const std::string tenant = order.tenant;
  auto run = std::make_unique<BackgroundResponse>(host, hub, store, std::move(order));
  running.object = run->writer_.pending("queued");
  running.cancelled_object = run->writer_.pending("cancelled");
  queued = running.object;
  if (openai::MaybeError error = store.begin(tenant, run->name(), std::move(running))) {
    return error;
  }
  if (openai::MaybeError error = run->session_.start(std::move(prepared), tenant)) {
    store.erase(tenant, run->name());
    return error;
  }
  hub.adopt(std::move(run));
  return std::nullopt;
}

BackgroundResponse::BackgroundResponse(const ModelHost& host, SessionHub& hub, ResponseStore& store, Order order)
    : store_(store),
      tenant_(std::move(order.tenant)),
      request_id_(std::move(order.request_id)),
      writer_(std::move(order.head)),
      session_(host, hub, *this, std::move(order.memory)) {}

void BackgroundResponse::on_begin(const openai::AnswerUsage& /*known*/) {
  store_.update(tenant_, name(), writer_.pending("in_progress"));
}

void BackgroundResponse::on_done(openai::Answer answer) {
  openai::ResponseTexts texts = writer_.texts(answer);
  store_.end(tenant_, name(), std::move(texts.object), std::move(texts.output));
  log(session_.finish_label());
}

void BackgroundResponse::on_error(openai::ApiError error) {
  store_.end(tenant_, name(), writer_.failed(error), std::nullopt);
  if (error.status >= 500) {
    spdlog::warn("request {}: {}", request_id_, error.message);
  }
  log("failed");
}

void BackgroundResponse::log(const char* how) const {
  spdlog::info("request {} in the background: prompt {} output {} finish {}", request_id_, session_.prompt_tokens(),
               session_.completion_tokens(), how);
}

}  // namespace coppice::server
