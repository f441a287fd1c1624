// The one place where a broken invariant ends the program.
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace coppice::base {

void check_failed(const char* condition, const char* file, int line, const char* message) {
  std::fprintf(stderr, "coppice: bug: %s (%s) at %s:%d\n", message, condition, file, line);
  std::abort();
}

}  // namespace coppice::base
