// Answers that are ready.
#include "server/http/route_call.h"

#include <fmt/format.h>

#include <utility>

#include "proto/anthropic/write_objects.h"

namespace coppice::server {

HttpResponse error_response(const openai::ApiError& error, const std::string& request_id, ErrorDialect dialect) {
  HttpResponse response;
  response.status = error.status;
  response.body =
      dialect == ErrorDialect::kAnthropic ? anthropic::write_error(error, request_id) : openai::write_error(error);
  response.headers.emplace_back("x-request-id", request_id);
  if (error.retry_after_s > 0) {
    response.headers.emplace_back("retry-after", fmt::format("{}", error.retry_after_s));
  }
  if (openai::is_transient(error)) {
    response.headers.emplace_back(openai::kRefusedHeader, error.code);
  }
  if (error.status == 401) {
    response.headers.emplace_back("www-authenticate", "Bearer");
  }
  return response;
}

void answer(ServerState& state, RouteCall& call, std::string body, std::string content_type) {
  answer_with(state, call, 200, std::move(body), std::move(content_type));
}

void answer_with(ServerState& state, RouteCall& call, int status, std::string body, std::string content_type) {
  state.metrics.count_answer("http", call.route, status);
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  response.content_type = std::move(content_type);
  response.headers.emplace_back("x-request-id", call.request_id);
  call.exchange.respond(std::move(response));
}

void answer(ServerState& state, RouteCall& call, const openai::ApiError& error) {
  state.metrics.count_answer("http", call.route, error.status);
  call.exchange.respond(error_response(error, call.request_id, call.dialect));
}

}  // namespace coppice::server
