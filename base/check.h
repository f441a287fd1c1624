// COPPICE_CHECK: an always-on check for what only a bug can break. User data must never be able to reach one;
// what the world can refuse is an absl::Status. A failed check prints one line and aborts: state is no longer known.
#pragma once

namespace coppice::base {

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* message);

}  // namespace coppice::base

#define COPPICE_CHECK(condition, message)                                     \
  do {                                                                        \
    if (!(condition)) [[unlikely]] {                                          \
      ::coppice::base::check_failed(#condition, __FILE__, __LINE__, message); \
    }                                                                         \
  } while (false)
