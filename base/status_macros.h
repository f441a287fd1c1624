// Early return on error for functions that return absl::Status or absl::StatusOr. Errors are values here: no exception
// crosses a floor.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define COPPICE_CONCAT_INNER(a, b) a##b
#define COPPICE_CONCAT(a, b) COPPICE_CONCAT_INNER(a, b)

// COPPICE_RETURN_IF_ERROR(expression giving absl::Status)
#define COPPICE_RETURN_IF_ERROR(expression)                   \
  do {                                                        \
    if (absl::Status status_ = (expression); !status_.ok()) { \
      return status_;                                         \
    }                                                         \
  } while (false)

// COPPICE_ASSIGN_OR_RETURN(auto value, expression giving absl::StatusOr<T>)
#define COPPICE_ASSIGN_OR_RETURN(declaration, expression) \
  COPPICE_ASSIGN_OR_RETURN_INNER(COPPICE_CONCAT(status_or_, __LINE__), declaration, expression)
#define COPPICE_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                           \
  if (!temporary.ok()) {                                                   \
    return std::move(temporary).status();                                  \
  }                                                                        \
  declaration = std::move(temporary).value()
