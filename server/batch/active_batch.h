// ActiveBatch: a batch that is being run: its input, its answers so far, and which of its lines have one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/batch/answer_file.h"
#include "server/batch/batch_input.h"
#include "server/batch/batch_job.h"
#include "server/batch/batch_store.h"

namespace coppice::server {

// Bounds of one batch, as OpenAI has them.
inline constexpr std::size_t kBatchLinesMax = 50'000;
inline constexpr std::size_t kBatchErrorsMax = 100;  // of those that keep it from being run, told to the client

// Owner: the runner. Thread: the runner's.
class ActiveBatch {
 public:
  // ERRORS: whatever keeps the batch from being run, for its `errors`.
  static absl::StatusOr<std::unique_ptr<ActiveBatch>> open(FileStore& files, const BatchKey& key,
                                                           const openai::BatchCard& card,
                                                           const openai::RequestLimits& limits);

  const BatchKey& key() const { return key_; }

  // Looks at some more of the input. ERRORS: as BatchInput::scan.
  absl::Status scan();
  bool is_scanned() const { return input_.is_scanned(); }
  // Of the lines that are no requests, after the scan; and how many lines there are.
  const std::vector<openai::BatchError>& errors() const { return errors_; }
  std::size_t total() const { return input_.entries().size(); }
  // Reads the answers of earlier runs. REQUIRES: is_scanned(), called once, as of all below. ERRORS: InvalidArgument,
  // Internal.
  absl::Status open_answers(FileStore& files);

  // A line that has no answer and is not in flight; nothing when there is none.
  std::optional<BatchInput::Entry> next();
  // It could not be started: it comes again.
  void give_back(const BatchInput::Entry& entry) { again_.push_back(entry); }
  absl::StatusOr<BatchLine> read(const BatchInput::Entry& entry) const { return input_.read(entry); }

  // Writes the answer. ERRORS: Internal.
  absl::Status answer(const BatchLine& line, const std::string& request_id, const BatchJob::Outcome& outcome);
  // Writes why the line is not tried. ERRORS: Internal.
  absl::Status refuse(const BatchLine& line, std::string_view code, std::string_view message);

  const openai::BatchCounts& counts() const { return counts_; }
  const openai::AnswerUsage& usage() const { return usage_; }
  bool has_all() const { return counts_.completed + counts_.failed == counts_.total; }
  std::int64_t answer_bytes() const { return static_cast<std::int64_t>(output_->bytes() + refused_->bytes()); }
  bool has_output() const { return output_->lines() > 0; }
  bool has_refusals() const { return refused_->lines() > 0; }
  absl::Status sync();
  bool has_answers_open() const { return output_.has_value(); }

  absl::Status trouble;         // the first thing that could not be read or written
  bool waits_for_room = false;  // engine or memory take none of its lines for now

 private:
  ActiveBatch(BatchKey key, const openai::BatchCard& card, base::RegularFile input,
              const openai::RequestLimits& limits);

  absl::StatusOr<AnswerFile> open_answer_file(const base::Folder& folder, const std::string& id);
  bool take_answer(const openai::Json& answer);
  void count(std::size_t number, bool is_answer);

  const BatchKey key_;
  const std::string output_id_;
  const std::string error_id_;
  BatchInput input_;
  std::vector<openai::BatchError> errors_;
  std::optional<AnswerFile> output_;
  std::optional<AnswerFile> refused_;
  std::vector<bool> done_;  // by number of the line
  std::size_t next_ = 0;    // of the input's entries
  std::vector<BatchInput::Entry> again_;
  openai::BatchCounts counts_;
  openai::AnswerUsage usage_;
};

}  // namespace coppice::server
