// From template text to Program. The grammar is jinja2's; what a chat template has no use for (include, import,
// extends, block, recursive loops, autoescape) is refused with a message that says so.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/jinja/ast.h"
#include "text/jinja/template_limits.h"

namespace coppice::text {

// ERRORS: kInvalidArgument "chat template line N: what"; kResourceExhausted for a source too long or too deep.
absl::StatusOr<std::shared_ptr<const Program>> parse_template(std::string_view source, const TemplateLimits& limits);

}  // namespace coppice::text
