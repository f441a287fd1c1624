// ClientGuard: watches the frames of one HTTP/2 connection in both directions and says when the client does what no
// honest client does: floods of control frames, streams opened to be reset, header blocks without end. It knows streams
// by their numbers and flags alone; gRPC behind it checks everything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "server/grpc/proxy/frame_scanner.h"
#include "server/grpc/proxy/http2.h"
#include "server/net/refusal.h"
#include "server/net/token_bucket.h"

namespace coppice::server {

// Bounds on one connection. The defaults are far above what gRPC's clients do at full load.
struct GuardLimits {
  std::size_t streams_max = 1024;  // open at once; what the server announces

  // Bytes of one header block as sent, CONTINUATION frames included: twice the metadata that gRPC accepts decoded.
  std::size_t header_bytes_max = 32768;
  // Frames of one header block after its first: more than its bytes need, few enough to stop empty ones.
  std::size_t continuations_max = 8;

  // Streams that the client resets, or makes the server reset. A user's stop is one. A proxy that drops a thousand
  // users at once fits the burst; the rate leaves gRPC a twentieth of what it can open and close in a second.
  BucketRate resets = {2000, 200};

  // Frames that carry no request: PING, WINDOW_UPDATE, PRIORITY, empty DATA … Each stream opened and each frame of
  // the server earns some (kEarned…), so that acknowledgements and windows never run out however fast answers are.
  BucketRate control = {2000, 100};
};

// Why a connection ends.
struct GuardVerdict {
  http2::ErrorCode code = http2::ErrorCode::kProtocol;
  Refusal refusal;
};

// Owner: a connection. Thread: the connection's. A value.
class ClientGuard {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ClientGuard(const GuardLimits& limits) : limits_(limits), resets_(limits.resets), control_(limits.control) {}

  // The next bytes of either side, before they are relayed; the client's without the preface. A verdict ends the
  // connection: the guard must not be used after it.
  std::optional<GuardVerdict> from_client(std::string_view bytes, Clock::time_point now);
  void from_server(std::string_view bytes, Clock::time_point now);

  // After from_server(): the client has made the server reset too many streams.
  std::optional<GuardVerdict> verdict() const { return verdict_; }

  std::size_t open_streams() const { return streams_.size(); }
  // Streams whose request has come whole: the server works on them.
  std::size_t running_streams() const { return streams_.size() - partial_; }
  // Of requests that have not come whole.
  std::size_t partial_bytes() const { return partial_bytes_; }
  // Streams opened before `time` whose request has not come whole.
  std::size_t partial_streams_before(Clock::time_point time) const;
  Clock::time_point quiet_since() const { return quiet_since_; }  // REQUIRES: open_streams() == 0
  std::uint32_t last_stream() const { return last_stream_; }
  std::uint64_t resets() const { return reset_count_; }  // so far
  // A frame of the proxy's own may follow what the server has sent.
  bool server_at_boundary() const { return server_.at_boundary(); }

 private:
  struct Stream {
    Clock::time_point opened;
    std::size_t bytes = 0;  // of DATA, until the request is whole
    bool is_whole = false;
  };

  bool client_frame(const http2::FrameHeader& frame, Clock::time_point now);
  bool on_headers(const http2::FrameHeader& frame, Clock::time_point now);
  bool on_continuation(const http2::FrameHeader& frame);
  bool on_data(const http2::FrameHeader& frame, Clock::time_point now);
  bool on_reset(std::uint32_t stream, Clock::time_point now);
  void server_frame(const http2::FrameHeader& frame, Clock::time_point now);
  bool spend(double cost, Clock::time_point now);
  bool charge_reset(Clock::time_point now);
  void make_whole(Stream& stream);
  void close(std::uint32_t stream, Clock::time_point now);
  bool refuse(http2::ErrorCode code, const Refusal& refusal);

  const GuardLimits limits_;
  FrameScanner client_;
  FrameScanner server_;
  TokenBucket resets_;
  TokenBucket control_;
  absl::flat_hash_map<std::uint32_t, Stream> streams_;  // open ones
  std::size_t partial_ = 0;                             // of streams_
  std::size_t partial_bytes_ = 0;
  std::uint32_t last_stream_ = 0;   // highest number the client has used
  std::uint32_t block_stream_ = 0;  // whose header block is under way; 0: none
  std::size_t block_bytes_ = 0;
  std::size_t block_frames_ = 0;
  std::uint64_t reset_count_ = 0;
  bool has_begun_ = false;  // the client's SETTINGS have come
  Clock::time_point quiet_since_ = Clock::now();
  std::optional<GuardVerdict> verdict_;
};

}  // namespace coppice::server
