// One thread: dispatch, settle, open, scan, start, end.
#include "server/batch/batch_runner.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status_macros.h"
#include "server/sessions/prepared_request.h"

namespace coppice::server {
namespace {

using openai::BatchCard;
using openai::BatchStatus;

// Batches that are run side by side, one of each tenant: each takes about 1 MB for the numbers of its lines.
constexpr std::size_t kOpenMax = 64;
// Requests in flight for each that may run, when nothing else does: the engine always finds one with a cached prefix.
constexpr std::int32_t kWindowFills = 2;
// When others run or wait: 1/kBesideIn of the places, so that steps stay short for them.
constexpr std::int32_t kBesideIn = 16;
constexpr std::chrono::milliseconds kRetry{100};  // to ask again whether there is room
constexpr std::chrono::seconds kLook{1};          // to see what time has brought: keys, batches and files that expire

constexpr const char* kFailedCode = "batch_failed";
constexpr const char* kFailedMessage = "the batch could not be run: see the server's log";

}  // namespace

BatchRunner::BatchRunner(ServerState& state, FileStore& files, BatchStore& store, const BatchRunnerOptions& options)
    : state_(state), host_(*state.host.load()), files_(files), store_(store), options_(options), hub_([this] {
        wake();
      }) {
  store_.set_listener([this] {
    has_changed_ = true;
    wake();
  });
}

BatchRunner::~BatchRunner() {
  stop();
  store_.set_listener([] {});
}

void BatchRunner::start() {
  thread_ = std::thread([this] { run(); });
}

void BatchRunner::stop() {
  is_stopping_ = true;
  wake();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void BatchRunner::wake() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_woken_ = true;
  }
  condition_.notify_one();
}

void BatchRunner::wait() {
  const bool is_busy = std::any_of(open_.begin(), open_.end(), [](const auto& batch) { return !batch->is_scanned(); });
  const auto time = is_busy ? std::chrono::milliseconds(0) : waits_for_room() ? kRetry : kLook;
  std::unique_lock<std::mutex> lock(mutex_);
  condition_.wait_for(lock, time, [this] { return is_woken_; });
  is_woken_ = false;
}

void BatchRunner::run() {
  while (!is_stopping_) {
    try {
      work();
    } catch (const std::exception& error) {  // out of memory at worst: what runs is done again
      spdlog::error("batches: {}", error.what());
      running_.clear();
      open_.clear();
    }
    wait();
  }
  running_.clear();  // cancels
  open_.clear();
}

void BatchRunner::work() {
  hub_.dispatch();
  const std::size_t before = running_.size();
  std::erase_if(running_, [](const Running& running) { return running.job->ended(); });
  if (running_.size() != before || running_.empty()) {
    for (const std::unique_ptr<ActiveBatch>& batch : open_) {
      batch->waits_for_room = false;
    }
  }
  if (const Clock::time_point now = Clock::now(); has_changed_.exchange(false) || now >= look_at_) {
    look_at_ = now + kLook;
    look_around();
  }
  for (std::size_t i = open_.size(); i > 0; --i) {
    if (!advance(*open_[i - 1])) {
      close(i - 1);
      has_changed_ = true;
      wake();
    }
  }
  start_lines();
}

// --- batches ---------------------------------------------------------------------------------------------------------

// A batch whose key is gone waits until it is known again.
void BatchRunner::look_around() {
  for (std::size_t i = open_.size(); i > 0; --i) {
    if (!state_.keys.is_known(open_[i - 1]->key().tenant)) {
      close(i - 1);
    }
  }
  open_waiting();
  files_.expire();
}

void BatchRunner::close(std::size_t index) {
  drop_jobs(*open_[index]);
  open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
}

// The oldest batch of each tenant that has none open and whose key is known.
void BatchRunner::open_waiting() {
  for (const BatchKey& key : store_.unfinished()) {
    const bool has_open = std::any_of(open_.begin(), open_.end(),
                                      [&key](const auto& batch) { return batch->key().tenant == key.tenant; });
    if (open_.size() >= kOpenMax) {
      return;
    }
    if (has_open || !state_.keys.is_known(key.tenant)) {
      continue;
    }
    const openai::Result<BatchCard> card = store_.find(key);
    absl::StatusOr<std::unique_ptr<ActiveBatch>> batch =
        ActiveBatch::open(files_, key, card.value(), host_.request_limits);
    if (batch.ok()) {
      open_.push_back(*std::move(batch));
    } else {
      fail(key, batch.status());
    }
  }
}

// False: the batch has ended.
bool BatchRunner::advance(ActiveBatch& batch) {
  if (!batch.has_answers_open()) {
    batch.trouble.Update(batch.scan());
    if (batch.trouble.ok() && !batch.is_scanned()) {
      return true;
    }
    if (batch.trouble.ok() && !begin(batch)) {
      return false;
    }
  }
  if (!batch.trouble.ok()) {
    give_up(batch);
    return false;
  }
  const BatchStore::State state = store_.state_of(batch.key());
  const bool is_cancelled = state.status == BatchStatus::kCancelling;
  const bool is_expired = !is_cancelled && !batch.has_all() && files_.now() >= state.expires_s;
  if (!batch.has_all() && !is_cancelled && !is_expired) {
    return true;
  }
  drop_jobs(batch);
  end(batch, is_cancelled ? BatchStatus::kCancelled : is_expired ? BatchStatus::kExpired : BatchStatus::kCompleted);
  return false;
}

// The input is known: the batch runs, or fails for what is in it (false).
bool BatchRunner::begin(ActiveBatch& batch) {
  const BatchKey key = batch.key();
  std::vector<openai::BatchError> errors = batch.errors();
  if (batch.total() == 0) {
    errors.push_back({"empty_file", "the input file has no requests", 0});
  }
  if (!errors.empty()) {
    fail(key, std::move(errors));
    return false;
  }
  batch.trouble.Update(batch.open_answers(files_));
  if (!batch.trouble.ok()) {
    return true;
  }
  show(batch);
  store_.change(key, [&](BatchCard& card) {
    if (card.status == BatchStatus::kValidating) {
      card.status = BatchStatus::kInProgress;
      card.in_progress_s = files_.now();
    }
  });
  if (const absl::Status status = store_.save(key); !status.ok()) {
    spdlog::error("batches: {}", std::string(status.message()));
  }
  spdlog::info("batch {}: {} requests, {} answered before", key.id, batch.counts().total,
               batch.counts().completed + batch.counts().failed);
  return true;
}

void BatchRunner::fail(const BatchKey& key, const absl::Status& status) {
  spdlog::warn("batch {}: {}", key.id, std::string(status.message()));
  fail(key, {{kFailedCode, kFailedMessage, 0}});
}

void BatchRunner::fail(const BatchKey& key, std::vector<openai::BatchError> errors) {
  store_.conclude(key, [&](BatchCard& card) {
    card.status = BatchStatus::kFailed;
    card.ended_s = files_.now();
    card.errors = std::move(errors);
  });
}

// What can be had of its answers becomes files.
void BatchRunner::give_up(ActiveBatch& batch) {
  drop_jobs(batch);
  spdlog::warn("batch {}: {}", batch.key().id, std::string(batch.trouble.message()));
  const bool is_published = batch.has_answers_open() && publish(batch, store_.find(batch.key()).value()).ok();
  store_.conclude(batch.key(), [&](BatchCard& card) {
    card.status = BatchStatus::kFailed;
    card.ended_s = files_.now();
    card.errors = {{kFailedCode, kFailedMessage, 0}};
    card.has_output = is_published && batch.has_output();
    card.has_errors = is_published && batch.has_refusals();
  });
}

// Its answers become files, then it says so.
void BatchRunner::end(ActiveBatch& batch, BatchStatus status) {
  const BatchKey key = batch.key();
  absl::Status done = status == BatchStatus::kExpired ? refuse_rest(batch) : absl::OkStatus();
  show(batch);
  const BatchCard card = store_.change(key, [&](BatchCard& changed) {
    changed.finalizing_s = files_.now();
    changed.status = status == BatchStatus::kCompleted ? BatchStatus::kFinalizing : changed.status;
  });
  if (done.ok()) {
    done = publish(batch, card);
  }
  if (!done.ok()) {
    fail(key, done);
    return;
  }
  store_.conclude(key, [&](BatchCard& changed) {
    changed.status = status;
    changed.ended_s = files_.now();
    changed.has_output = batch.has_output();
    changed.has_errors = batch.has_refusals();
  });
  spdlog::info("batch {}: {}, {} answered, {} failed of {}", key.id, batch_status_name(status),
               batch.counts().completed, batch.counts().failed, batch.counts().total);
}

absl::Status BatchRunner::publish(ActiveBatch& batch, const BatchCard& card) {
  COPPICE_RETURN_IF_ERROR(batch.sync());
  const auto adopt = [&](bool is_there, const std::string& id, const char* name) -> absl::Status {
    if (!is_there) {
      COPPICE_ASSIGN_OR_RETURN(const auto folder, files_.folder(batch.key().tenant));
      folder->remove(FileStore::data_name(id));
      return absl::OkStatus();
    }
    openai::FileCard file;
    file.id = id;
    file.created_s = files_.now();
    file.expires_s = card.request.output_expires_s > 0 ? file.created_s + card.request.output_expires_s : 0;
    file.filename = fmt::format("{}_{}.jsonl", card.id, name);
    file.purpose = std::string("batch_output");
    return files_.adopt(batch.key().tenant, std::move(file));
  };
  COPPICE_RETURN_IF_ERROR(adopt(batch.has_output(), card.output_file_id, "output"));
  return adopt(batch.has_refusals(), card.error_file_id, "error");
}

absl::Status BatchRunner::refuse_rest(ActiveBatch& batch) {
  while (const std::optional<BatchInput::Entry> entry = batch.next()) {
    COPPICE_ASSIGN_OR_RETURN(const BatchLine line, batch.read(*entry));
    COPPICE_RETURN_IF_ERROR(batch.refuse(line, "batch_expired",
                                         "This request could not be executed before the completion window expired."));
  }
  return absl::OkStatus();
}

// What clients see of its progress.
void BatchRunner::show(ActiveBatch& batch) {
  store_.change(batch.key(), [&batch](BatchCard& card) {
    card.counts = batch.counts();
    card.usage = batch.usage();
  });
}

// --- requests --------------------------------------------------------------------------------------------------------

// Jobs that may be in flight: few while others run or wait, so that the steps of those stay short.
std::size_t BatchRunner::window() const {
  const engine::Limits& limits = host_.engine_limits;
  const std::int32_t chosen = options_.in_flight_max > 0 ? options_.in_flight_max
                                                         : std::clamp(kWindowFills * limits.running_max, 1,
                                                                      std::max(1, limits.queued_max / kWindowFills));
  const engine::EngineStats stats = host_.engine->stats();
  const std::int32_t own =
      std::accumulate(running_.begin(), running_.end(), 0,
                      [](std::int32_t sum, const Running& it) { return sum + it.job->sequences(); });
  const bool is_alone = stats.running + stats.waiting <= own;
  return static_cast<std::size_t>(is_alone ? chosen : std::min(chosen, std::max(1, limits.running_max / kBesideIn)));
}

bool BatchRunner::waits_for_room() const {
  return std::any_of(open_.begin(), open_.end(), [](const auto& batch) { return batch->waits_for_room; });
}

// One line of each open batch in turn. A batch that finds no room does not hold up those of other tenants, whose
// memory is counted apart.
void BatchRunner::start_lines() {
  std::size_t without = 0;  // batches in a row that had no line to start
  const std::size_t most = window();
  while (running_.size() < most && without < open_.size()) {
    ActiveBatch& batch = *open_[turn_++ % open_.size()];
    const bool may_start = batch.has_answers_open() && batch.trouble.ok() && !batch.waits_for_room &&
                           store_.state_of(batch.key()).status == BatchStatus::kInProgress;
    const std::optional<BatchInput::Entry> entry = may_start ? batch.next() : std::nullopt;
    without = entry ? 0 : without + 1;
    if (entry && !start_line(batch, *entry)) {
      batch.give_back(*entry);
      batch.waits_for_room = true;
    }
  }
}

// False: there is no room now.
bool BatchRunner::start_line(ActiveBatch& batch, const BatchInput::Entry& entry) {
  const auto memory = std::make_shared<MemoryBudget::Lease>(state_.memory);
  memory->set_tenant(batch.key().tenant + "|batch");
  if (const openai::MaybeError error = memory->set(MemoryPart::kBody, parsing_bytes(entry.bytes, host_.request_limits));
      error && error->status == openai::kOverloadedStatus) {
    return false;
  }
  absl::StatusOr<BatchLine> line = batch.read(entry);
  if (!line.ok()) {
    batch.trouble.Update(line.status());
    return true;
  }
  if (const std::string why = files_.quota_refusal(batch.key().tenant, batch.answer_bytes()); !why.empty()) {
    batch.trouble.Update(batch.refuse(*line, "storage_quota_exceeded", why));
    show(batch);
    return true;
  }
  return start_job(batch, entry, *std::move(line), memory);
}

bool BatchRunner::start_job(ActiveBatch& batch, const BatchInput::Entry& entry, BatchLine line,
                            std::shared_ptr<MemoryBudget::Lease> memory) {
  BatchJobOptions options;
  options.tenant = batch.key().tenant;
  options.request_id = fmt::format("{}_{}", batch.key().id, entry.number);
  options.in_background = true;
  options.memory = std::move(memory);
  auto job = std::make_unique<BatchJob>(
      host_, hub_, std::move(line), std::move(options),
      [this, &batch, entry](BatchJob& done, const BatchJob::Outcome& outcome) { settle(done, batch, entry, outcome); });
  if (job->start()) {
    return false;
  }
  if (!job->ended()) {
    running_.push_back({std::move(job), &batch, entry});
  }
  return true;
}

// One that was cut off by the end of the process is not answered: it is done again.
void BatchRunner::settle(BatchJob& job, ActiveBatch& batch, const BatchInput::Entry& entry,
                         const BatchJob::Outcome& outcome) {
  if (outcome.status == openai::kUnavailableStatus) {
    batch.give_back(entry);
    return;
  }
  state_.metrics.count_answer("batch", job.line().endpoint->url, outcome.status);
  const std::string request_id = fmt::format("{}_{}", batch.key().id, entry.number);
  batch.trouble.Update(batch.answer(job.line(), request_id, outcome));
  show(batch);
}

// Its jobs are cancelled; their lines have no answer.
void BatchRunner::drop_jobs(ActiveBatch& batch) {
  for (const Running& running : running_) {
    if (running.batch == &batch) {
      batch.give_back(running.entry);
    }
  }
  std::erase_if(running_, [&batch](const Running& running) { return running.batch == &batch; });
}

}  // namespace coppice::server
