// Tests ("value is name(arguments)"), with jinja2's names and meanings.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

bool test_exists(std::string_view name);
// Fails with kInvalidArgument on an unknown name or a value the test cannot judge.
absl::StatusOr<bool> apply_test(Heap& heap, std::string_view name, const Value& value, const Arguments& arguments);

}  // namespace coppice::text
