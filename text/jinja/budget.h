// The account of one rendering: steps, bytes and nesting, each refused beyond its limit, and whether the rendering has
// failed. The interpreter charges everything it does here, so every template ends or fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "text/jinja/limits.h"

namespace coppice::jinja {

// Errors are a state of the rendering: the first failure is kept, and from then on every charge is refused, every
// iterator is at its end and every expression is none. Code that computes does not look for errors; code that loops or
// allocates asks for its charge first.
//
// Owner: the rendering's Heap; strings point back to it to give their bytes back. Thread: one rendering, one thread.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  const Limits& limits() const { return limits_; }
  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }
  void fail(absl::Status status) { status_.Update(std::move(status)); }
  void fail_exhausted(std::string what) { fail(absl::ResourceExhaustedError(std::move(what))); }

  // Spends `steps`. False when the rendering has failed, now or before.
  [[nodiscard]] bool charge(std::int64_t steps) {
    steps_ += steps;
    return steps_ <= limits_.steps_max ? !failed() : steps_exceeded();
  }
  // Spends what handling `bytes` of text costs. False as charge().
  [[nodiscard]] bool charge_text(std::size_t bytes) {
    return charge(1 + static_cast<std::int64_t>(bytes / kBytesPerStep));
  }
  // Holds `bytes` more until release(). False, with nothing held, as charge().
  [[nodiscard]] bool reserve(std::size_t bytes);
  void release(std::size_t bytes) { held_bytes_ -= bytes; }

  // One level of evaluation, to be left in any case. False as charge().
  [[nodiscard]] bool enter();
  void leave() { --depth_; }
  // False for a value nested deeper than value_depth_max, and as charge().
  [[nodiscard]] bool check_value_depth(int depth);

 private:
  static constexpr std::size_t kBytesPerStep =
      64;  // bytes of text per step: copying them costs about as much as a node
  bool steps_exceeded();

  const Limits limits_;
  absl::Status status_;
  std::int64_t steps_ = 0;
  std::size_t held_bytes_ = 0;
  int depth_ = 0;
};

}  // namespace coppice::jinja
