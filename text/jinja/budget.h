// What one chat template may cost, and the account of one rendering: steps, bytes and nesting. A template is untrusted:
// what passes a limit is refused, so that none can hang the server, exhaust its memory or overflow its stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace coppice::jinja {

// A plain value. The defaults fit every published template with a conversation of a few thousand messages, and end any
// rendering within about 1 s and 64 MB.
struct Limits {
  std::size_t source_bytes_max = 256U << 10U;  // template text; the longest published one has 30 KiB
  int parse_depth_max = 120;                   // nesting of statements and expressions; parser's stack < 256 KiB
  int evaluation_depth_max = 400;              // nesting while rendering, macro recursion included; stack < 1 MiB
  int value_depth_max = 200;                   // nesting of lists and dicts; bounds recursive printing and comparing
  std::int64_t steps_max = 4'000'000;          // see Budget: nodes, items and pieces of text; about 1 s
  std::size_t output_bytes_max = 12U << 20U;   // rendered prompt: 3 million tokens, above any context window
  std::size_t value_bytes_max = 48U << 20U;    // memory of all values and of the output; 64 MB with overheads
  std::int64_t range_items_max = 100'000;      // items of one range(), as in jinja2's sandbox
};

// Errors are a state of the rendering: the first failure is kept; after it every charge is refused, every iterator is
// at its end and every expression is none. Code that computes does not look for errors; code that loops or allocates
// asks for its charge first.
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

  // Spends `steps`. Returns false when the rendering has failed, now or before.
  [[nodiscard]] bool charge(std::int64_t steps) {
    steps_ += steps;
    return steps_ <= limits_.steps_max ? !failed() : steps_exceeded();
  }
  // Spends what copying or comparing `bytes` costs. Returns as charge().
  [[nodiscard]] bool charge_copy(std::size_t bytes) {
    return charge(1 + static_cast<std::int64_t>(bytes / kCopyBytes));
  }
  // Spends what reading `bytes` character by character, or searching them, costs. Returns as charge().
  [[nodiscard]] bool charge_walk(std::size_t bytes) {
    return charge(1 + static_cast<std::int64_t>(bytes / kWalkBytes));
  }
  // Holds `bytes` more until release(). Returns as charge(); holds nothing when false.
  [[nodiscard]] bool reserve(std::size_t bytes);
  void release(std::size_t bytes) { held_bytes_ -= bytes; }

  // Enters one level of evaluation, which leave() must end in any case. Returns as charge().
  [[nodiscard]] bool enter();
  void leave() { --depth_; }
  // Returns false for a value nested deeper than value_depth_max, and as charge().
  [[nodiscard]] bool check_value_depth(int depth);

 private:
  // Bytes of text that cost as much as evaluating a node, roughly 100 ns.
  static constexpr std::size_t kCopyBytes = 64;
  static constexpr std::size_t kWalkBytes = 8;
  bool steps_exceeded();

  const Limits limits_;
  absl::Status status_;
  std::int64_t steps_ = 0;
  std::size_t held_bytes_ = 0;
  int depth_ = 0;
};

}  // namespace coppice::jinja
