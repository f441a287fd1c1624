// AnswerFile: answers of a batch, appended line by line. It may be of an earlier run that was cut off at any byte: its
// whole lines are kept.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/openai/json_reader.h"

namespace coppice::server {

// Owner: a run of a batch. Thread: one. Locked: one process at a time.
class AnswerFile {
 public:
  // What was there, line by line; false: it is no answer of a batch.
  using Visit = std::function<bool(const openai::Json& answer)>;

  // Opens or creates `path`, reads what is there and cuts off a last line that is not whole. ERRORS: InvalidArgument
  // when the file has a line that is no answer, is no regular file, or another process has it; Internal.
  static absl::StatusOr<AnswerFile> open(const std::filesystem::path& path, const Visit& visit);
  // The same for a descriptor to read and append to, which it takes over. `name` is for messages.
  static absl::StatusOr<AnswerFile> take(int descriptor, std::string name, const Visit& visit);

  AnswerFile(AnswerFile&& other) noexcept;
  AnswerFile& operator=(AnswerFile&&) = delete;
  ~AnswerFile();

  std::size_t lines() const { return lines_; }
  std::size_t bytes() const { return bytes_; }
  // One write a line, so that a killed process leaves at most one torn line. ERRORS: Internal.
  absl::Status append(std::string line);
  // Forces what was appended to the disk. ERRORS: Internal.
  absl::Status sync();

 private:
  AnswerFile(int file, std::string name) : file_(file), name_(std::move(name)) {}
  absl::Status resume(const Visit& visit);
  absl::Status failed(const char* doing) const;

  int file_ = -1;
  std::string name_;
  std::size_t lines_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace coppice::server
