// KvEventsReactor: one stream of KV events over gRPC. It reads the log at the pace of its client: nothing is kept for a
// slow one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "coppice/v1/inference.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/grpc/call.h"
#include "server/kv_events/kv_events.h"

namespace coppice::server {

// The batch with the changes that the caller may see: with API keys, `tenant` is the caller's key, and they are those
// of its own prefixes, whatever their salt.
v1::KvEventBatch to_proto(const KvEventBatch& batch, const KvEvents& events, std::string_view tenant);

// Owner: itself; deletes itself after OnDone(). Thread: gRPC's callbacks and the log's wake only post; all state is
// used on one loop alone.
class KvEventsReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  KvEventsReactor(CallContext& context, KvEvents& events, SessionLoop& home, Call call,
                  const v1::SubscribeKvEventsRequest& request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void pump();
  bool tell_next();
  void tell_held();
  void write(const v1::KvEventBatch& message);
  void finish(const grpc::Status& status, int http_status);

  CallContext& context_;
  KvEvents& events_;
  SessionLoop& home_;
  const Call call_;
  std::uint64_t next_ = 0;          // to be read from the log
  std::optional<KvSnapshot> held_;  // to be told before that
  std::size_t told_ = 0;            // blocks of it
  std::uint64_t listener_ = 0;
  std::shared_ptr<std::atomic<bool>> is_woken_;  // a look at the log has been posted; gone with the reactor
  grpc::ByteBuffer writing_;                     // the batch in gRPC's hands
  int http_status_ = 200;
  bool is_writing_ = false;
  bool is_finished_ = false;  // Finish() was called
};

}  // namespace coppice::server
