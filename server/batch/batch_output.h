// BatchOutput: the output of `coppice batch`. What it has of an earlier run is not done again, whatever line of the
// input it was then: answers are known by their custom_id.
#pragma once

#include <filesystem>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "server/batch/answer_file.h"
#include "server/batch/batch_line.h"

namespace coppice::server {

// Owner: the command. Thread: one.
class BatchOutput {
 public:
  // ERRORS: as AnswerFile::open.
  static absl::StatusOr<BatchOutput> open(const std::filesystem::path& path);

  bool has(const BatchLine& line) const {
    return line.custom_id.empty() ? ids_.contains(line.id()) : custom_ids_.contains(line.custom_id);
  }
  // ERRORS: Internal.
  absl::Status append(std::string answer) { return file_.append(std::move(answer)); }

 private:
  using Names = absl::flat_hash_set<std::string>;

  BatchOutput(AnswerFile file, Names custom_ids, Names ids)
      : file_(std::move(file)), custom_ids_(std::move(custom_ids)), ids_(std::move(ids)) {}

  AnswerFile file_;
  Names custom_ids_;
  Names ids_;  // of lines without custom_id
};

}  // namespace coppice::server
