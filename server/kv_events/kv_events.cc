// The thread between the engine's queue and the listeners.
#include "server/kv_events/kv_events.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/kv_events/event_encoder.h"

namespace coppice::server {
namespace {

constexpr std::string_view kGrpcOnly = "grpc";
// Tokens of a batch: some 40 KB, so that what waits for a slow reader is bounded in bytes as well as in messages.
constexpr std::size_t kBatchTokens = 8192;
// Over gRPC: some for each router. Each holds a batch, 40 KB, that its reader takes, and a late reader's the blocks of
// its snapshot until it has been told them.
constexpr int kStreamsMax = 64;
constexpr std::chrono::milliseconds kTakePatience{1000};  // an end of the queue wakes the thread at once

double unix_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool begins_anew(const engine::CacheChange& change) {
  return change.kind == engine::CacheChange::Kind::kCleared;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KvEvents>> KvEvents::open(const KvEventsOptions& options, const ApiKeys& keys) {
  if (options.address != kGrpcOnly) {
    COPPICE_RETURN_IF_ERROR(parse_zmq_address(options.address).status());
  }
  return std::unique_ptr<KvEvents>(new KvEvents(options, keys));
}

absl::Status KvEvents::start(std::int32_t page_size) {
  page_size_ = page_size;
  if (options_.address != kGrpcOnly) {
    COPPICE_ASSIGN_OR_RETURN(const ZmqAddress address, parse_zmq_address(options_.address));
    const auto encode = [this](const KvEventBatch& batch) {
      return encode_batch(batch, page_size_, [this](std::string_view tenant) { return is_shared(tenant); });
    };
    COPPICE_ASSIGN_OR_RETURN(feed_, ZmqFeed::open(address, log_, encode));
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(fmt::format("--kv-events: no thread for it: {}", error.what()));
  }
  return absl::OkStatus();
}

bool KvEvents::serves_anyone_over_grpc() const {
  return options_.is_local || options_.address == kGrpcOnly;
}

bool KvEvents::enter() {
  if (++streams_ <= kStreamsMax) {
    return true;
  }
  leave();
  return false;
}

void KvEvents::close() {
  queue_->close();
  if (thread_.joinable()) {
    thread_.join();
  }
  log_.close();
}

bool KvEvents::is_shared(std::string_view tenant) const {
  return key_part(tenant).size() == tenant.size() && keys_.shares() == 1 && keys_.is_known(tenant);
}

void KvEvents::keys_changed() {
  owes_telling_ = true;
  log_.wake_listeners();
}

std::size_t KvEvents::batch_blocks() const {
  return std::max<std::size_t>(kBatchTokens / static_cast<std::size_t>(page_size_), 1);
}

void KvEvents::run() {
  pthread_setname_np(pthread_self(), "kv_events");  // for ps, top and debuggers
  publish_or_begin_anew({engine::CacheChange()});
  while (!queue_->is_closed()) {
    publish_or_begin_anew(queue_->take(kTakePatience));
  }
  publish_or_begin_anew(queue_->take(std::chrono::milliseconds(0)));
}

void KvEvents::publish_or_begin_anew(std::vector<engine::CacheChange> changes) try {
  publish(std::move(changes));
  if (owes_telling_.exchange(false) || has_lost_beginning()) {
    tell_anew();
  }
} catch (const std::exception& error) {  // no memory: the server goes on
  spdlog::warn("kv events: some are lost, all that is cached will be told anew: {}", error.what());
  queue_->mark_lost();
}

// Whether a replay would leave out some of what is held, and half of the log has room for all: then what is told anew
// is not more than what came by itself.
bool KvEvents::has_lost_beginning() const {
  return log_.oldest() > beginning_ && holdings_.log_bytes() <= options_.memory_bytes / 2;
}

void KvEvents::tell_anew() {
  std::vector<engine::CacheChange> changes = to_changes(holdings_.snapshot().blocks);
  changes.insert(changes.begin(), engine::CacheChange());
  publish(std::move(changes));
}

void KvEvents::publish(std::vector<engine::CacheChange> changes) {
  const auto page_size = static_cast<std::size_t>(page_size_);
  for (std::vector<engine::CacheChange>& batch : cut_changes(std::move(changes), batch_blocks(), page_size)) {
    const KvEventBatchPointer numbered = log_.append(std::move(batch), unix_now());
    holdings_.apply(*numbered);
    if (std::any_of(numbered->changes.begin(), numbered->changes.end(), begins_anew)) {
      beginning_ = numbered->sequence;
    }
    if (feed_ != nullptr) {
      feed_->publish(*numbered);
    }
  }
}

}  // namespace coppice::server
