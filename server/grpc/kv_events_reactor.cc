// A subscriber's way through the log of KV events.
#include "server/grpc/kv_events_reactor.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "server/grpc/message_bytes.h"

namespace coppice::server {
namespace {

using engine::CacheChange;

// HTTP statuses, for metrics.
constexpr int kUnauthorizedStatus = 401;  // RFC 9110, 15.5.2
constexpr int kGoneStatus = 410;          // RFC 9110, 15.5.11
constexpr int kLeftStatus = 499;          // as everywhere: the client left
constexpr int kDrainStatus = 503;         // RFC 9110, 15.6.4
constexpr int kNoMemoryStatus = 500;      // RFC 9110, 15.6.1

void add_event(const CacheChange& change, const KvEvents& events, v1::KvEventBatch& batch) {
  v1::KvEvent& event = *batch.add_events();
  switch (change.kind) {
    case CacheChange::Kind::kStored: {
      v1::KvBlocksStored& stored = *event.mutable_stored();
      stored.mutable_block_hashes()->Assign(change.blocks.begin(), change.blocks.end());
      if (change.parent) {
        stored.set_parent_block_hash(*change.parent);
      }
      stored.mutable_token_ids()->Assign(change.tokens.begin(), change.tokens.end());
      stored.set_block_size(events.page_size());
      stored.set_is_isolated(!events.is_shared(change.tenant));
      break;
    }
    case CacheChange::Kind::kRemoved:
      event.mutable_removed()->mutable_block_hashes()->Assign(change.blocks.begin(), change.blocks.end());
      break;
    case CacheChange::Kind::kCleared:
      event.mutable_cleared();
      break;
  }
}

}  // namespace

v1::KvEventBatch to_proto(const KvEventBatch& batch, const KvEvents& events, std::string_view tenant) {
  v1::KvEventBatch message;
  message.set_sequence(batch.sequence);
  message.set_timestamp_s(batch.unix_s);
  message.set_epoch(events.epoch());
  for (const CacheChange& change : batch.changes) {
    if (tenant.empty() || change.kind == CacheChange::Kind::kCleared || key_part(change.tenant) == tenant) {
      add_event(change, events, message);
    }
  }
  return message;
}

KvEventsReactor::KvEventsReactor(CallContext& context, KvEvents& events, SessionLoop& home, Call call,
                                 const v1::SubscribeKvEventsRequest& request)
    : context_(context),
      events_(events),
      home_(home),
      call_(std::move(call)),
      next_(request.epoch().empty() || request.epoch() == events.epoch() ? request.from_sequence() : 0),
      is_woken_(std::make_shared<std::atomic<bool>>(true)) {
  // The task may find the reactor gone, but only after OnDone() has run on the same loop.
  const auto look = [this, woken = std::weak_ptr<std::atomic<bool>>(is_woken_)] {
    if (const auto is_woken = woken.lock()) {
      is_woken->store(false);
      pump();
    }
  };
  listener_ = events_.log().add_listener([this, look] {
    if (!is_woken_->exchange(true)) {
      home_.loop.post(look);
    }
  });
  home_.loop.post(look);
}

void KvEventsReactor::OnWriteDone(bool ok) {
  call_.place->entry().waits_for_client(false);
  home_.loop.post([this, ok] {
    is_writing_ = false;
    if (!ok) {
      finish(grpc::Status::CANCELLED, kLeftStatus);
    }
    pump();
  });
}

void KvEventsReactor::OnCancel() {
  home_.loop.post([this] { finish(grpc::Status::CANCELLED, kLeftStatus); });
}

void KvEventsReactor::OnDone() {
  call_.place->entry().leave();
  events_.log().remove_listener(listener_);
  events_.leave();
  home_.loop.post([this] {
    context_.state.metrics.count_answer("grpc", call_.route, http_status_);
    delete this;  // NOLINT: gRPC's reactors own themselves; this is their last callback
  });
}

void KvEventsReactor::finish(const grpc::Status& status, int http_status) {
  if (!is_finished_) {
    is_finished_ = true;
    http_status_ = http_status;
    Finish(status);
  }
}

void KvEventsReactor::pump() try {
  while (!is_writing_ && !is_finished_) {
    if (!context_.state.keys.is_known(call_.tenant)) {
      finish({grpc::StatusCode::UNAUTHENTICATED, "the API key is not known any more"}, kUnauthorizedStatus);
    } else if (held_) {
      tell_held();
    } else if (!tell_next()) {
      return;
    }
  }
} catch (const std::bad_alloc&) {
  finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "out of memory"}, kNoMemoryStatus);
}

// Writes the next batch, passes over one that holds nothing for the caller, or takes a snapshot in place of what is
// remembered no longer. False: there is nothing to do now.
bool KvEventsReactor::tell_next() {
  const KvEventBatchPointer batch = events_.log().find(next_);
  if (batch == nullptr) {
    if (events_.log().is_closed()) {
      finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"}, kDrainStatus);
    } else if (const std::uint64_t next = events_.log().next(); next_ > next) {
      // The reader knows another process's numbers: what it believes is cached is gone.
      finish({grpc::StatusCode::OUT_OF_RANGE, fmt::format("there is no batch {} yet; the next is {}", next_, next)},
             kGoneStatus);
    }
    return false;
  }
  if (batch->sequence != next_) {
    held_ = events_.snapshot();
    told_ = 0;
    return true;
  }
  const v1::KvEventBatch message = to_proto(*batch, events_, call_.tenant);
  if (message.events_size() > 0) {
    write(message);
  }
  next_ = batch->sequence + 1;
  return true;
}

// Writes the next part of the snapshot. The one behind the last is the first batch that it does not hold.
void KvEventsReactor::tell_held() {
  const std::size_t count = std::min(events_.batch_blocks(), held_->blocks.size() - told_);
  KvEventBatch part{.sequence = 0, .unix_s = held_->unix_s, .changes = {}};
  if (told_ == 0) {
    part.changes.emplace_back();  // forget what you know
  }
  std::vector<CacheChange> blocks = to_changes(std::span(held_->blocks).subspan(told_, count));
  std::move(blocks.begin(), blocks.end(), std::back_inserter(part.changes));
  told_ += count;
  const bool is_last = told_ == held_->blocks.size();
  if (is_last && held_->next > 0) {
    part.sequence = held_->next - 1;
  }
  v1::KvEventBatch message = to_proto(part, events_, call_.tenant);
  message.set_is_snapshot(true);
  if (is_last) {
    next_ = held_->next;
    held_.reset();
  }
  if (is_last || message.events_size() > 0) {
    write(message);
  }
}

void KvEventsReactor::write(const v1::KvEventBatch& message) {
  writing_ = encode(message);
  is_writing_ = true;
  call_.place->entry().waits_for_client(true);
  StartWrite(&writing_);
}

}  // namespace coppice::server
