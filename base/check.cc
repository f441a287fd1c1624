// The one place where a broken invariant ends the program.
#include "base/check.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "base/stderr_line.h"

namespace coppice::base {

void check_failed(const char* condition, const char* file, int line, const char* message) {
  std::array<char, 1024> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "coppice: bug: %s (%s) at %s:%d\n", message, condition, file, line);
  write_stderr({text.data(), std::min(static_cast<std::size_t>(std::max(length, 0)), text.size() - 1)});
  std::abort();
}

}  // namespace coppice::base
