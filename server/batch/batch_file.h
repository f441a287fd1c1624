// The two files of `coppice batch`: OpenAI's batch requests, one JSON object a line, and the answers, likewise. The
// answers' file may be of an earlier run that was cut off at any byte: its whole lines are kept and not done again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "proto/openai/limits.h"
#include "proto/openai/request.h"

namespace coppice::server {

// One line of the input. `refusal` says why it cannot even be tried; then there is no body, and `custom_id` may be "".
struct BatchLine {
  std::size_t number = 0;  // of the line, from 1
  std::string custom_id;
  openai::RequestKind kind = openai::RequestKind::kCompletion;
  openai::Json body;
  std::string prefix_key;  // lines whose prompts have a prefix in common have one in common here
  std::string refusal;

  std::string id() const { return "batch_req_" + std::to_string(number); }
};

// Reads every line that is not blank; a bad line has a refusal and does no harm to others. A custom_id counts once.
// ERRORS: NotFound when the file cannot be read.
absl::StatusOr<std::vector<BatchLine>> read_batch(const std::filesystem::path& path,
                                                  const openai::RequestLimits& limits);

// One line of the output: {"id","custom_id","response":{"status_code","request_id","body"},"error":null}.
std::string write_batch_answer(const BatchLine& line, int status, std::string_view body);
// The same for a line that was never tried: "response" is null and "error" has code and message.
std::string write_batch_refusal(const BatchLine& line);

// The output, appended to line by line. Owner: the command. Thread: one. Locked: one process at a time.
class BatchOutput {
 public:
  // Opens or creates `path`, reads what is there, and cuts off a last line that is not whole. ERRORS: InvalidArgument
  // when the file has a line that is no batch answer, or another process has it; Internal when it cannot be written.
  static absl::StatusOr<BatchOutput> open(const std::filesystem::path& path, const openai::RequestLimits& limits);
  BatchOutput(BatchOutput&& other) noexcept;
  BatchOutput& operator=(BatchOutput&&) = delete;
  ~BatchOutput();

  bool has(const BatchLine& line) const;
  std::size_t lines() const { return lines_; }
  // One write a line, so that a killed process leaves at most one torn line. ERRORS: Internal.
  absl::Status append(std::string line);

 private:
  explicit BatchOutput(int file) : file_(file) {}
  absl::Status resume(const std::string& name, const openai::RequestLimits& limits);

  int file_ = -1;
  std::size_t lines_ = 0;
  absl::flat_hash_set<std::string> custom_ids_;
  absl::flat_hash_set<std::string> ids_;  // of lines without custom_id
};

}  // namespace coppice::server
