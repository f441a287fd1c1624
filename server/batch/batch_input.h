// BatchInput: the requests of a batch's file, however large it is: read once to see what is there, then line by line in
// the order in which they shall run. Of each line it keeps some numbers, never its text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "server/batch/batch_line.h"

namespace coppice::server {

// Owner and thread: one.
class BatchInput {
 public:
  // A line of the file that is not blank.
  struct Entry {
    std::uint64_t offset = 0;  // bytes
    std::uint32_t bytes = 0;
    std::uint32_t number = 0;        // of the line, from 1
    std::uint32_t duplicate_of = 0;  // number of the earlier line with the same custom_id; 0 = there is none
  };

  // `limits.body_bytes_max` bounds a line, `lines_max` (0 = none) their number; `only`, if not null, is the one
  // endpoint that lines may name.
  BatchInput(base::RegularFile file, const openai::RequestLimits& limits, std::size_t lines_max,
             const BatchEndpoint* only = nullptr);

  // Reads about `bytes` more. `on_bad`, if set, hears of each line that is no request. ERRORS: DataLoss, Internal;
  // InvalidArgument for too many lines.
  using OnBad = std::function<void(const BatchLine& line)>;
  absl::Status scan(std::size_t bytes, const OnBad& on_bad);
  // Everything is read, and the entries are in the order to run in: those whose prompts have the longest beginnings in
  // common stand side by side, else as in the file.
  bool is_scanned() const { return is_scanned_; }

  // REQUIRES: is_scanned(), as of read().
  const std::vector<Entry>& entries() const { return entries_; }
  // The number of the last line.
  std::size_t lines() const { return lines_; }
  // The line again. ERRORS: DataLoss, Internal.
  absl::StatusOr<BatchLine> read(const Entry& entry) const;

 private:
  // Hashes of what a prompt begins with, at growing lengths.
  using Beginnings = std::array<std::uint64_t, 5>;

  BatchLine parse(std::size_t number, std::string_view text) const;
  void take_line(std::string_view text, std::uint64_t offset, bool is_whole, const OnBad& on_bad);
  absl::Status take_lines(std::string_view fresh, const OnBad& on_bad);
  void sort();

  const base::RegularFile file_;
  const openai::RequestLimits limits_;
  const std::size_t lines_max_;
  const BatchEndpoint* const only_;
  std::size_t at_ = 0;        // read so far
  std::string line_;          // the beginning of a line whose end is not read yet
  std::uint64_t begin_ = 0;   // where that stands
  bool is_too_long_ = false;  // it is longer than a line may be: the rest is skipped
  bool is_scanned_ = false;
  std::size_t lines_ = 0;
  std::vector<Entry> entries_;
  std::vector<Beginnings> beginnings_;                              // of the entries, until they are sorted
  absl::flat_hash_map<std::uint64_t, std::uint32_t> by_custom_id_;  // hash to line, until then
};

}  // namespace coppice::server
