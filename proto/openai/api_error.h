// ApiError: why a request is refused, the same for every API. HTTP writes it as OpenAI's error envelope, gRPC as a
// status with the same words. Result<T> carries either a value or one of these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace coppice::openai {

// HTTP statuses that code compares with.
inline constexpr int kTimeoutStatus = 408;      // RFC 9110, 15.5.9
inline constexpr int kOverloadedStatus = 429;   // RFC 6585, 4
inline constexpr int kClientLeftStatus = 499;   // as nginx; in metrics and logs, never sent
inline constexpr int kUnavailableStatus = 503;  // RFC 9110, 15.6.4

// A value type. `status` is the HTTP status; other APIs map it.
struct ApiError {
  int status = 400;
  std::string type = "invalid_request_error";
  std::string param;      // the field at fault; empty = none
  std::string code;       // for machines; empty = none
  std::string message;    // at most kMessageBytesMax when made by the functions below
  int retry_after_s = 0;  // > 0: the client may try again after this many seconds
};

// Bytes of an error's message. Messages repeat what came; some lines of it are enough.
inline constexpr std::size_t kMessageBytesMax = 1024;

// `text`, cut between two UTF-8 characters and marked when it is longer than kMessageBytesMax.
std::string bounded_message(std::string text);

using MaybeError = std::optional<ApiError>;

// Either a T or why there is none. Thread: a value.
template <typename T>
class Result {
 public:
  Result(T value) : content_(std::move(value)) {}         // NOLINT: implicit on purpose, as StatusOr
  Result(ApiError error) : content_(std::move(error)) {}  // NOLINT
  bool ok() const { return std::holds_alternative<T>(content_); }
  T& value() { return std::get<T>(content_); }                // REQUIRES: ok()
  const T& value() const { return std::get<T>(content_); }    // REQUIRES: ok()
  ApiError& error() { return std::get<ApiError>(content_); }  // REQUIRES: !ok()
  const ApiError& error() const { return std::get<ApiError>(content_); }

 private:
  std::variant<T, ApiError> content_;
};

// 400: `param` has a wrong type or a value outside its bounds; `message` says which and what came.
ApiError bad_value(std::string param, std::string message);
// 400: a field of the API that this server does not have yet.
ApiError not_supported(std::string param, std::string message);
// 400: prompt, or prompt and answer together, do not fit the model's context of `tokens_max` tokens. The message is
// OpenAI's, in which clients look for words; `what` ends it: "your prompt has 9 tokens".
ApiError context_too_long(std::string param, std::int64_t tokens_max, std::string_view what);
ApiError unauthorized(std::string message);                                    // 401
ApiError not_found(std::string param, std::string code, std::string message);  // 404
ApiError deadline_exceeded(std::string message);                               // 408
ApiError too_large(std::string message);                                       // 413
// 429: `code` says what there is too much of.
ApiError overloaded(std::string message, int retry_after_s, std::string code = "queue_full");
ApiError cancelled();                                                            // 499, never sent: the client left
ApiError unavailable(std::string code, std::string message, int retry_after_s);  // 503
ApiError internal_error(std::string message);                                    // 500: our bug
ApiError not_implemented(std::string param, std::string message);                // 501: not with the served model

// Whether `error` says that the request may be sent again, here later or elsewhere now: routers and clients look for
// its code.
bool is_transient(const ApiError& error);
// The answer's header with the code of such an error.
inline constexpr const char* kRefusedHeader = "x-coppice-refused";

// {"error":{"message","type","param","code"}}
std::string write_error(const ApiError& error);

}  // namespace coppice::openai
