// Calls of the XGrammar library: what it throws becomes a status, what it logs is collected and never printed.
// Private to text/grammar.
#pragma once

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

// Returns what `call` returns. ERRORS: ResourceExhausted without memory; InvalidArgument for any other exception.
template <typename Call>
absl::StatusOr<std::invoke_result_t<Call>> xgrammar_call(Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the grammar needs more memory than there is");
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(std::string(error.what()));
  } catch (...) {
    return absl::InternalError("the grammar library failed");
  }
}

}  // namespace coppice::text
