// Ends of the engine as refusals of the API.
#include "server/sessions/event_error.h"

#include <algorithm>
#include <string>

namespace coppice::server {
namespace {

constexpr int kRetryAfterSeconds = 1;  // soon: one step of the engine may make room

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
  openai::ApiError error = openai::internal_error(event.error);
  if (event.fault == engine::Fault::kModel) {
    error.code = "broken_model";
  }
  return error;
}

}  // namespace

openai::MaybeError error_of(const engine::Event& event) {
  switch (event.finish) {
    case engine::FinishReason::kCancelled:
      return openai::unavailable("cancelled", "the server is shutting down; the answer was cut off",
                                 kRetryAfterSeconds);
    case engine::FinishReason::kDeadline:
      return openai::deadline_exceeded("the answer was not complete within the server's --request-timeout");
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
