// Calls of the XGrammar library: what it throws becomes a status, what it logs is collected and never printed, and its
// work is counted, so that no call goes on for longer than it may. Private to text/grammar.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::text {

// Collects the warnings that the library writes on this thread while it lives. Not nested.
class XgrammarWarnings {
 public:
  XgrammarWarnings();
  ~XgrammarWarnings();
  XgrammarWarnings(const XgrammarWarnings&) = delete;
  XgrammarWarnings& operator=(const XgrammarWarnings&) = delete;

  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
};

// Bounds the library's work on this thread while it lives: a call that takes more steps, or goes on once `is_cancelled`
// is set, throws from where it stands. What it worked on is good for nothing but its destructor then. The same call
// takes the same steps always. Not nested.
class WorkLimit {
 public:
  explicit WorkLimit(std::int64_t steps_max, const std::atomic<bool>* is_cancelled = nullptr);
  ~WorkLimit();
  WorkLimit(const WorkLimit&) = delete;
  WorkLimit& operator=(const WorkLimit&) = delete;

  std::int64_t steps() const;  // taken so far

  // Grants some more steps, or throws. Called by the library.
  void on_spent();

 private:
  const std::int64_t steps_max_;
  const std::atomic<bool>* is_cancelled_;
  std::int64_t granted_ = 0;
};

// What WorkLimit throws.
struct WorkEnded : std::exception {
  bool is_cancelled = false;
};

// Returns what `call` returns. ERRORS: OutOfRange and Cancelled where a WorkLimit ended it; ResourceExhausted without
// memory; InvalidArgument for any other exception.
template <typename Call>
absl::StatusOr<std::invoke_result_t<Call>> xgrammar_call(Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const WorkEnded& ended) {
    return ended.is_cancelled ? absl::CancelledError("the server is shutting down")
                              : absl::OutOfRangeError("it takes too much work");
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the grammar needs more memory than there is");
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(std::string(error.what()));
  } catch (...) {
    return absl::InternalError("the grammar library failed");
  }
}

}  // namespace coppice::text
