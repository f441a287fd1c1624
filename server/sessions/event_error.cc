// Ends of the engine as refusals of the API.
#include "server/sessions/event_error.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 1;  // soon: one step of the engine may make room
// Of what is measured: a minute is long for a client, and by then everything may be different.
constexpr std::int64_t kRetryAfterMost = 60;
constexpr int kMemoryRetrySeconds = 5;  // until kept prefixes end or another request does, which cannot be foreseen

int retry_after(std::chrono::milliseconds lasts) {
  const std::int64_t seconds = (lasts.count() + 999) / 1000;  // whole ones, rounded up
  return static_cast<int>(std::clamp<std::int64_t>(seconds, kRetryAfterSeconds, kRetryAfterMost));
}

// The field that the engine refuses: its reasons begin with the name.
std::string param_of(const std::string& reason) {
  const std::size_t end = std::min(reason.find(' '), reason.size());
  const bool is_name = std::all_of(reason.begin(), reason.begin() + static_cast<std::ptrdiff_t>(end),
                                   [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  return is_name ? reason.substr(0, end) : "";
}

openai::ApiError error_of_fault(const engine::Event& event) {
  if (event.fault == engine::Fault::kRequest) {
    return openai::bad_value(param_of(event.error), event.error);
  }
  if (event.fault == engine::Fault::kMemory) {
    return openai::overloaded(event.error, kMemoryRetrySeconds, "kv_full");
  }
  openai::ApiError error = openai::internal_error(event.error);
  if (event.fault == engine::Fault::kModel) {
    error.code = "broken_model";
  }
  return error;
}

}  // namespace

openai::ApiError error_of(const engine::Overload& overload) {
  const int seconds = retry_after(overload.lasts);
  switch (overload.reason) {
    case engine::OverloadReason::kKv:
      return openai::overloaded("the server's queue is full, and what waits there waits for KV memory; try again later",
                                seconds, "kv_full");
    case engine::OverloadReason::kDeadline:
      return openai::overloaded("the request's turn in the server's queue comes after its deadline", seconds,
                                "deadline_unreachable");
    case engine::OverloadReason::kQueue:
    case engine::OverloadReason::kNone:
      break;
  }
  return openai::overloaded("the server's queue is full; try again later", seconds);
}

openai::MaybeError error_of(const engine::Event& event) {
  switch (event.finish) {
    case engine::FinishReason::kCancelled:
      return openai::unavailable("cancelled", "the server is shutting down; the answer was cut off",
                                 kRetryAfterSeconds);
    case engine::FinishReason::kDeadline:
      return openai::deadline_exceeded(
          "the answer was not complete by the request's deadline, or within the server's --request-timeout");
    case engine::FinishReason::kError:
      return error_of_fault(event);
    case engine::FinishReason::kNone:
    case engine::FinishReason::kStop:
    case engine::FinishReason::kLength:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace coppice::server
