// A subscriber's way through the log of KV events.
#include "server/grpc/kv_events_reactor.h"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "server/grpc/message_bytes.h"

namespace coppice::server {
namespace {

using engine::CacheChange;

// HTTP statuses, for metrics.
constexpr int kGoneStatus = 410;      // RFC 9110, 15.5.11
constexpr int kLeftStatus = 499;      // as everywhere: the client left
constexpr int kDrainStatus = 503;     // RFC 9110, 15.6.4
constexpr int kNoMemoryStatus = 500;  // RFC 9110, 15.6.1

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
      next_(request.from_sequence()),
      has_begun_(request.has_from_sequence()),
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
    const KvEventBatchPointer batch = events_.log().find(next_);
    if (batch == nullptr) {
      if (events_.log().is_closed()) {
        finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"}, kDrainStatus);
      } else if (const std::uint64_t next = events_.log().next(); next_ > next) {
        // The reader knows another process's numbers: what it believes is cached is gone.
        finish({grpc::StatusCode::OUT_OF_RANGE, fmt::format("there is no batch {} yet; the next is {}", next_, next)},
               kGoneStatus);
      }
      return;
    }
    if (has_begun_ && batch->sequence != next_) {
      finish({grpc::StatusCode::OUT_OF_RANGE,
              fmt::format("batch {} is remembered no longer; the oldest is {}", next_, batch->sequence)},
             kGoneStatus);
      return;
    }
    const v1::KvEventBatch message = to_proto(*batch, events_, call_.tenant);
    if (message.events_size() > 0) {
      writing_ = encode(message);
    }
    has_begun_ = true;
    next_ = batch->sequence + 1;  // not before it is encoded: without memory for that the stream ends
    if (message.events_size() > 0) {
      is_writing_ = true;
      call_.place->entry().waits_for_client(true);
      StartWrite(&writing_);
    }
  }
} catch (const std::bad_alloc&) {
  finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "out of memory"}, kNoMemoryStatus);
}

}  // namespace coppice::server
