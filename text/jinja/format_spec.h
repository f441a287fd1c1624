// Formatting one value as Python's format specifications say ("{:>8.2f}", "%-5s"): the common ground of str.format()
// and the % operator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"
#include "text/jinja/value.h"

namespace coppice::text {

struct FormatSpec {
  static constexpr std::int64_t kSizeMax = 10'000;  // of width and precision

  std::string fill = " ";
  char align = '\0';  // < > ^ =, or none
  char sign = '-';    // - + or a blank
  bool alternate = false;
  char grouping = '\0';  // , or _
  std::int64_t width = 0;
  std::optional<std::int64_t> precision;
  char type = '\0';  // d s f ..., or none
};

// `text` padded to the width, `default_align` when the spec has none.
std::string pad(const FormatSpec& spec, std::string text, char default_align);
// Text cut to the precision and padded.
std::string format_text(const FormatSpec& spec, const std::string& text, char default_align);
// A number as spec.type says: d b o x X c n, or e E f F g G %, or none for the value's own form.
absl::StatusOr<std::string> format_number(const FormatSpec& spec, const Value& value);

}  // namespace coppice::text
