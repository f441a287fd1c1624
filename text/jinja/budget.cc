// Messages of the rendering account.
#include "text/jinja/budget.h"

#include <fmt/format.h>

namespace coppice::text {

absl::Status Budget::reserve(std::size_t bytes) {
  if (bytes > limits_.value_bytes_max - held_bytes_) {
    return absl::ResourceExhaustedError(
        fmt::format("values need more than {} bytes of memory", limits_.value_bytes_max));
  }
  held_bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status Budget::steps_exceeded() const {
  return absl::ResourceExhaustedError(fmt::format("rendering takes more than {} steps", limits_.steps_max));
}

}  // namespace coppice::text
