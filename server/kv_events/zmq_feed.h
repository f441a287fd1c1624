// ZmqFeed: the two ZeroMQ sockets of a stream of KV events: PUB, which sends each batch to all who are there, and
// ROUTER, which sends what is remembered to one who asks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/kv_events/kv_event_log.h"

namespace coppice::server {

// Where to listen. Nothing there is encrypted, and no key is asked for.
struct ZmqAddress {
  std::string host;       // an address, a name, an interface or "*"
  std::int32_t port = 0;  // of PUB, and the next one of ROUTER; 0: any free ports
};

// "tcp://HOST:PORT". ERRORS: InvalidArgument.
absl::StatusOr<ZmqAddress> parse_zmq_address(std::string_view text);

// Thread: publish() one at a time; the rest any. A thread of its own serves ROUTER.
class ZmqFeed {
 public:
  // A batch as it goes over the wire.
  using Encode = std::function<std::string(const KvEventBatch& batch)>;

  // ERRORS: InvalidArgument when an address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<ZmqFeed>> open(const ZmqAddress& address, const KvEventLog& log, Encode encode);
  virtual ~ZmqFeed() = default;

  // Sends [topic, sequence, payload]. Never waits: a reader who is behind by more than the bound misses batches, sees
  // it by their numbers and asks ROUTER for them.
  virtual void publish(const KvEventBatch& batch) = 0;
  // "tcp://HOST:PORT", where readers connect; HOST is "*" when every address is listened on.
  virtual const std::string& endpoint() const = 0;
  virtual const std::string& replay_endpoint() const = 0;
};

}  // namespace coppice::server
