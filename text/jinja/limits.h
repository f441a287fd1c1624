// Bounds on what one chat template may cost, when it is compiled and in each rendering. A template is untrusted input:
// with these limits it cannot hang the server, exhaust its memory or overflow its stack.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coppice::jinja {

// A plain value. The defaults fit every published template with a conversation of a few thousand messages.
struct Limits {
  std::size_t source_bytes_max = 1U << 20U;  // template text; the longest published one has 30 KiB
  int parse_depth_max = 120;           // nesting of statements and expressions; keeps the parser's stack < 256 KiB
  int evaluation_depth_max = 400;      // nesting while rendering, macro recursion included; stack < 1 MiB
  int value_depth_max = 200;           // nesting of lists and dicts; bounds the recursion of printing and comparing
  std::int64_t steps_max = 5'000'000;  // nodes evaluated, items visited, 64-byte pieces of text; about 1 s
  std::size_t output_bytes_max = 32U << 20U;  // rendered prompt; above any context window
  std::size_t value_bytes_max = 256U << 20U;  // memory of all values, the context included
  std::int64_t range_items_max = 100'000;     // items of one range(), as in jinja2's sandbox
};

}  // namespace coppice::jinja
