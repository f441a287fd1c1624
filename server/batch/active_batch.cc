// Opening, resuming, answering.
#include "server/batch/active_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace coppice::server {
namespace {

constexpr std::size_t kScanBytes = std::size_t{1} << 20;  // between two looks at what else is to do: some milliseconds
constexpr int kAnswered = 200;                            // RFC 9110, 15.3.1

const openai::Json* member(const openai::Json* object, const char* name) {
  if (object == nullptr || !object->is_object()) {
    return nullptr;
  }
  const auto found = object->find(name);
  return found == object->end() ? nullptr : &*found;
}

std::int64_t number_of(const openai::Json* object, const char* name) {
  const openai::Json* const value = member(object, name);
  return value == nullptr ? 0 : openai::as_integer(*value).value_or(0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveBatch>> ActiveBatch::open(FileStore& files, const BatchKey& key,
                                                               const openai::BatchCard& card,
                                                               const openai::RequestLimits& limits) {
  openai::Result<base::RegularFile> file = files.content(key.tenant, card.request.input_file_id);
  if (!file.ok()) {
    return absl::NotFoundError(file.error().message);
  }
  return std::unique_ptr<ActiveBatch>(  // NOLINT: private constructor
      new ActiveBatch(key, card, std::move(file.value()), limits));
}

ActiveBatch::ActiveBatch(BatchKey key, const openai::BatchCard& card, base::RegularFile input,
                         const openai::RequestLimits& limits)
    : key_(std::move(key)),
      output_id_(card.output_file_id),
      error_id_(card.error_file_id),
      input_(std::move(input), limits, kBatchLinesMax, find_batch_endpoint(card.request.endpoint)) {}

absl::Status ActiveBatch::scan() {
  return input_.scan(kScanBytes, [this](const BatchLine& line) {
    if (errors_.size() < kBatchErrorsMax) {
      errors_.push_back({"invalid_line", line.refusal, static_cast<std::int64_t>(line.number)});
    }
  });
}

absl::StatusOr<AnswerFile> ActiveBatch::open_answer_file(const base::Folder& folder, const std::string& id) {
  const std::string name = FileStore::data_name(id);
  COPPICE_ASSIGN_OR_RETURN(const int descriptor, folder.open_to_append(name));
  return AnswerFile::take(descriptor, (folder.path() / name).string(),
                          [this](const openai::Json& answer) { return take_answer(answer); });
}

absl::Status ActiveBatch::open_answers(FileStore& files) {
  counts_.total = static_cast<std::int64_t>(total());
  done_.assign(input_.lines() + 1, false);
  COPPICE_ASSIGN_OR_RETURN(const std::shared_ptr<const base::Folder> folder, files.folder(key_.tenant));
  COPPICE_ASSIGN_OR_RETURN(AnswerFile output, open_answer_file(*folder, output_id_));
  COPPICE_ASSIGN_OR_RETURN(AnswerFile refused, open_answer_file(*folder, error_id_));
  output_.emplace(std::move(output));
  refused_.emplace(std::move(refused));
  return absl::OkStatus();
}

// An answer of an earlier run.
bool ActiveBatch::take_answer(const openai::Json& answer) {
  const openai::Json* const id = member(&answer, "id");
  const std::size_t number = id != nullptr && id->is_string() ? batch_line_number(id->get<std::string>()) : 0;
  if (number == 0 || number >= done_.size() || done_[number]) {
    return false;
  }
  const openai::Json* const response = member(&answer, "response");
  count(number, number_of(response, "status_code") == kAnswered);
  const openai::Json* const usage = member(member(response, "body"), "usage");
  usage_.prompt_tokens += number_of(usage, "prompt_tokens");
  usage_.completion_tokens += number_of(usage, "completion_tokens");
  usage_.cached_tokens += number_of(member(usage, "prompt_tokens_details"), "cached_tokens");
  return true;
}

void ActiveBatch::count(std::size_t number, bool is_answer) {
  done_[number] = true;
  ++(is_answer ? counts_.completed : counts_.failed);
}

std::optional<BatchInput::Entry> ActiveBatch::next() {
  while (!again_.empty()) {
    const BatchInput::Entry entry = again_.back();
    again_.pop_back();
    if (!done_[entry.number]) {
      return entry;
    }
  }
  while (next_ < input_.entries().size()) {
    const BatchInput::Entry& entry = input_.entries()[next_++];
    if (!done_[entry.number]) {
      return entry;
    }
  }
  return std::nullopt;
}

absl::Status ActiveBatch::answer(const BatchLine& line, const std::string& request_id,
                                 const BatchJob::Outcome& outcome) {
  const bool is_answer = outcome.status == kAnswered;
  AnswerFile& file = is_answer ? *output_ : *refused_;
  COPPICE_RETURN_IF_ERROR(file.append(write_batch_answer(line, outcome.status, outcome.body, request_id)));
  count(line.number, is_answer);
  usage_.prompt_tokens += outcome.usage.prompt_tokens;
  usage_.completion_tokens += outcome.usage.completion_tokens;
  usage_.cached_tokens += outcome.usage.cached_tokens;
  return absl::OkStatus();
}

absl::Status ActiveBatch::refuse(const BatchLine& line, std::string_view code, std::string_view message) {
  COPPICE_RETURN_IF_ERROR(refused_->append(write_batch_refusal(line, code, message)));
  count(line.number, false);
  return absl::OkStatus();
}

absl::Status ActiveBatch::sync() {
  COPPICE_RETURN_IF_ERROR(output_->sync());
  return refused_->sync();
}

}  // namespace coppice::server
