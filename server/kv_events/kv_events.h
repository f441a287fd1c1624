// KvEvents: the stream of what the prefix cache holds, for routers. The engine appends to a bounded queue and goes on;
// a thread of this class numbers the changes, remembers the last of them, and sends them to all that listen.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "engine/cache_changes.h"
#include "server/access/api_keys.h"
#include "server/kv_events/kv_event_log.h"
#include "server/kv_events/kv_holdings.h"
#include "server/kv_events/zmq_feed.h"

namespace coppice::server {

struct KvEventsOptions {
  std::string address;  // --kv-events: "tcp://HOST:PORT"; "grpc": no sockets of its own; "": no events at all
  std::size_t memory_bytes = std::size_t{64} << 20U;  // --kv-events-memory: of what is remembered for replays
  bool is_local = false;                              // all that reach the server's ports are on this machine
  std::string epoch = {};                             // of this process: numbers of another one's mean nothing
};

// Owner: the app; outlives the front ends. `keys` outlive it. Thread: open(), start() and close() the owner's; the rest
// any.
class KvEvents {
 public:
  // REQUIRES: options.address is not empty. ERRORS: InvalidArgument for an address that cannot be used.
  static absl::StatusOr<std::unique_ptr<KvEvents>> open(const KvEventsOptions& options, const ApiKeys& keys);
  ~KvEvents() { close(); }

  // For EngineOptions::cache_changes.
  const std::shared_ptr<engine::CacheChangeQueue>& queue() const { return queue_; }
  // Opens the sockets and begins: the first event says that the cache is empty. ERRORS: as open().
  absl::Status start(std::int32_t page_size);
  // Publishes what waits and ends all streams.
  void close();

  // The keys have been replaced. Streams over gRPC look at once whether they may go on; within a second all that is
  // held is told anew, since what is everyone's may have become one's own.
  void keys_changed();

  const std::string& epoch() const { return options_.epoch; }
  // What is held, for one who wants batches that the log does not remember.
  KvSnapshot snapshot() const { return holdings_.snapshot(); }
  // Of one batch, so that every reader takes it.
  std::size_t batch_blocks() const;
  const KvEventLog& log() const { return log_; }
  KvEventLog& log() { return log_; }
  std::int32_t page_size() const { return page_size_; }
  // Whether callers without a key may read over gRPC: events hold all prompts, so only where it was asked for by
  // name, or the port is this machine's alone.
  bool serves_anyone_over_grpc() const;
  // A stream over gRPC begins: false when there are as many as there may be. ENSURES, if true: leave() is owed.
  bool enter();
  void leave() { --streams_; }
  // Null: there are no sockets.
  const ZmqFeed* feed() const { return feed_.get(); }
  // Whether any request may find the prefixes of this tenant: not those of a cache salt, nor of one of several keys,
  // nor of a key that is known no longer.
  bool is_shared(std::string_view tenant) const;

 private:
  KvEvents(const KvEventsOptions& options, const ApiKeys& keys)
      : options_(options), keys_(keys), log_(options.memory_bytes) {}

  void run();
  void publish(std::vector<engine::CacheChange> changes);
  void publish_or_begin_anew(std::vector<engine::CacheChange> changes);
  bool has_lost_beginning() const;
  void tell_anew();

  const KvEventsOptions options_;
  const ApiKeys& keys_;
  const std::shared_ptr<engine::CacheChangeQueue> queue_ = std::make_shared<engine::CacheChangeQueue>();
  KvEventLog log_;
  KvHoldings holdings_;
  std::uint64_t beginning_ = 0;            // the last batch that begins anew; of thread_
  std::atomic<bool> owes_telling_{false};  // all that is held, anew
  std::atomic<int> streams_{0};            // over gRPC
  std::int32_t page_size_ = 0;
  std::unique_ptr<ZmqFeed> feed_;
  std::thread thread_;
};

}  // namespace coppice::server
