// StepCost: how long a step of n rows takes on this machine with this model, learned from the steps that ran. What
// drafts are worth depends on it: on a device that waits for memory a few more rows cost nothing, on one that computes
// each row costs its share. Attention is counted apart, by keys attended, because it grows with the context.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace coppice::engine {

// Owner: the engine. Thread: the engine's. A few hundred nanoseconds a call.
class StepCost {
 public:
  // A step of `rows` rows took body_ns without attention, and attention_ns for keys_attended keys (0, 0 where the
  // device reports no such time). One slow step, when another program had the machine, moves the estimate little.
  void observe(std::int32_t rows, double body_ns, double attention_ns, double keys_attended);

  bool known() const { return knots_known_ > 0; }
  // Expected nanoseconds of a step of `rows` rows, without attention; never falls as rows grow. REQUIRES: known().
  double body_ns(std::int32_t rows) const;
  // Expected nanoseconds of attention for each key that a row attends to.
  double ns_per_key() const { return keys_seen_ > 0 ? attention_ns_seen_ / keys_seen_ : 0.0; }

  // What was learned, as lines of text; and back. ERRORS: InvalidArgument; nothing is changed then.
  std::string to_string() const;
  absl::Status restore(std::string_view text);

 private:
  // Rows 1 … 16 each have their own knot, then four stand in every doubling.
  static constexpr std::int32_t kFine = 16;
  static constexpr std::int32_t kKnots = kFine + 4 * 12;

  struct Knot {
    double rows = 0;    // mean of what was seen
    double ns = 0;      // likewise
    double weight = 0;  // observations, older ones fading; 0: never seen
  };

  static std::int32_t knot_of(std::int32_t rows);
  void rebuild();

  std::array<Knot, kKnots> knots_;
  // The known knots made monotone: what body_ns() interpolates.
  std::array<double, kKnots> curve_rows_{};
  std::array<double, kKnots> curve_ns_{};
  std::int32_t knots_known_ = 0;
  double attention_ns_seen_ = 0;
  double keys_seen_ = 0;
};

}  // namespace coppice::engine
