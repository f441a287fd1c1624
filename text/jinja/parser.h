// Compiles a template.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/jinja/limits.h"
#include "text/jinja/program.h"

namespace coppice::jinja {

// ERRORS: kInvalidArgument "chat template line N: what" for syntax that is wrong or not supported; kResourceExhausted
// beyond the limits.
absl::StatusOr<std::shared_ptr<const Program>> parse_template(std::string_view source, const Limits& limits);

}  // namespace coppice::jinja
