// The account of one rendering: steps spent and bytes held, each refused beyond its limit. Everything the interpreter
// does is charged here, so a template ends or fails, whatever it contains.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "text/jinja/template_limits.h"

namespace coppice::text {

// Owner: the rendering's Heap; strings point back to it to give their bytes back. Thread: one rendering, one thread.
class Budget {
 public:
  explicit Budget(const TemplateLimits& limits) : limits_(limits) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  const TemplateLimits& limits() const { return limits_; }

  // Spends `steps`; kResourceExhausted when none are left.
  absl::Status charge(std::int64_t steps) {
    steps_ += steps;
    return steps_ <= limits_.steps_max ? absl::OkStatus() : steps_exceeded();
  }
  // Spends what handling `bytes` of text costs.
  absl::Status charge_text(std::size_t bytes) { return charge(1 + static_cast<std::int64_t>(bytes / kBytesPerStep)); }
  // Holds `bytes` more, until release(); kResourceExhausted when that is too many.
  absl::Status reserve(std::size_t bytes);
  void release(std::size_t bytes) { held_bytes_ -= bytes; }

 private:
  static constexpr std::size_t kBytesPerStep = 64;
  absl::Status steps_exceeded() const;

  const TemplateLimits limits_;
  std::int64_t steps_ = 0;
  std::size_t held_bytes_ = 0;
};

}  // namespace coppice::text
