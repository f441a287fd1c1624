// A bar on stderr for work that takes long enough to be watched: loading weights, a batch.
#pragma once

#include <cstddef>
#include <string>

namespace coppice::server {

// Draws when stderr is a terminal, else does nothing. Thread: one.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();  // clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  // Redraws when the percentage has changed. `total` 0 counts as done.
  void update(std::size_t done, std::size_t total);

 private:
  const std::string label_;
  const bool is_terminal_;
  int percent_ = -1;  // shown now; -1: nothing drawn yet
};

}  // namespace coppice::server
