// The refusals of the API, one constructor each, and their envelope.
#include "proto/openai/api_error.h"

#include <fmt/format.h>

#include <string_view>

#include "proto/openai/json_writer.h"

namespace coppice::openai {
namespace {

ApiError make_error(int status, std::string type, std::string param, std::string code, std::string message) {
  ApiError error;
  error.status = status;
  error.type = std::move(type);
  error.param = std::move(param);
  error.code = std::move(code);
  error.message = bounded_message(std::move(message));
  return error;
}

constexpr std::string_view kCutMark = "...";

}  // namespace

std::string bounded_message(std::string text) {
  if (text.size() <= kMessageBytesMax) {
    return text;
  }
  std::size_t cut = kMessageBytesMax - kCutMark.size();
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) {
    --cut;
  }
  text.resize(cut);
  text += kCutMark;
  return text;
}

ApiError bad_value(std::string param, std::string message) {
  return make_error(400, "invalid_request_error", std::move(param), "invalid_value", std::move(message));
}

ApiError not_supported(std::string param, std::string message) {
  return make_error(400, "invalid_request_error", std::move(param), "not_supported", std::move(message));
}

ApiError context_too_long(std::string param, std::int64_t tokens_max, std::string_view what) {
  return make_error(400, "invalid_request_error", std::move(param), "context_length_exceeded",
                    fmt::format("This model's maximum context length is {} tokens. However, {}.", tokens_max, what));
}

ApiError unauthorized(std::string message) {
  return make_error(401, "authentication_error", "", "invalid_api_key", std::move(message));
}

ApiError not_found(std::string param, std::string code, std::string message) {
  return make_error(404, "not_found_error", std::move(param), std::move(code), std::move(message));
}

ApiError deadline_exceeded(std::string message) {
  return make_error(kTimeoutStatus, "timeout_error", "", "deadline_exceeded", std::move(message));
}

ApiError too_large(std::string message) {
  return make_error(413, "invalid_request_error", "", "request_too_large", std::move(message));
}

ApiError cancelled() {
  return make_error(kClientLeftStatus, "cancelled", "", "cancelled", "the client has left");
}

ApiError overloaded(std::string message, int retry_after_s, std::string code) {
  ApiError error = make_error(kOverloadedStatus, "rate_limit_error", "", std::move(code), std::move(message));
  error.retry_after_s = retry_after_s;
  return error;
}

ApiError unavailable(std::string code, std::string message, int retry_after_s) {
  ApiError error = make_error(kUnavailableStatus, "service_unavailable_error", "", std::move(code), std::move(message));
  error.retry_after_s = retry_after_s;
  return error;
}

ApiError internal_error(std::string message) {
  return make_error(500, "internal_server_error", "", "internal_error", std::move(message));
}

ApiError not_implemented(std::string param, std::string message) {
  return make_error(501, "not_implemented_error", std::move(param), "not_implemented", std::move(message));
}

bool is_transient(const ApiError& error) {
  return (error.status == kOverloadedStatus || error.status == kUnavailableStatus) && !error.code.empty();
}

std::string write_error(const ApiError& error) {
  JsonWriter out;
  out.begin_object().key("error").begin_object();
  out.key("message").string(bounded_message(error.message));
  out.key("type").string(error.type);
  out.key("param").string_or_null(error.param);
  out.key("code").string_or_null(error.code);
  out.end_object().end_object();
  return out.take();
}

}  // namespace coppice::openai
