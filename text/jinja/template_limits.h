// Bounds on what one chat template may cost, at compile time and in each rendering. A template is
// untrusted input: with these limits it can neither hang the server nor exhaust its memory or its
// stack.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::text {

// A plain value; the defaults fit every published template with a conversation of a few thousand
// messages.
struct TemplateLimits {
  std::size_t source_bytes_max = 1U << 20U;  // size of the template text
  int parse_depth_max = 120;                 // nesting of statements and expressions in the source
  int evaluation_depth_max = 400;            // nesting while rendering, macro recursion included
  int value_depth_max = 200;           // nesting of lists and dicts in the context and in values built by the template
  std::int64_t steps_max = 5'000'000;  // nodes evaluated + items visited + 64-byte pieces of text handled
  std::size_t output_bytes_max = 32U << 20U;  // size of the rendered prompt
  std::size_t value_bytes_max = 256U << 20U;  // memory held by values, the context included
  std::int64_t range_items_max = 100'000;     // length of one range(), as in jinja2's sandbox
};

}  // namespace coppice::text
