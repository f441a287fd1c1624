// The functions every chat template finds: range, dict, namespace, raise_exception and strftime_now.
#pragma once

#include <ctime>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

// Names and values. strftime_now() formats `now`.
absl::StatusOr<std::vector<std::pair<std::string_view, Value>>> make_globals(Heap& heap, const std::tm& now);

// Namespaces hold no names that begin with an underscore.
absl::Status check_namespace_name(std::string_view name);

}  // namespace coppice::text
