// Refusals of the rendering account.
#include "text/jinja/budget.h"

#include <fmt/format.h>

namespace coppice::jinja {

bool Budget::reserve(std::size_t bytes) {
  if (bytes > limits_.value_bytes_max - held_bytes_) {
    fail_exhausted(fmt::format("values need more than {} bytes of memory", limits_.value_bytes_max));
  }
  held_bytes_ += failed() ? 0 : bytes;
  return !failed();
}

bool Budget::enter() {
  if (++depth_ > limits_.evaluation_depth_max) {
    fail_exhausted(fmt::format("evaluation is nested deeper than {} levels", limits_.evaluation_depth_max));
  }
  return !failed();
}

bool Budget::check_value_depth(int depth) {
  if (depth > limits_.value_depth_max) {
    fail_exhausted(fmt::format("a value is nested deeper than {} levels", limits_.value_depth_max));
  }
  return !failed();
}

bool Budget::steps_exceeded() {
  fail_exhausted(fmt::format("rendering takes more than {} steps", limits_.steps_max));
  return false;
}

}  // namespace coppice::jinja
