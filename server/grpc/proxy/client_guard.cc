// One function a frame type. CVE-2023-44487 (rapid reset), CVE-2025-8671 (streams that the server is made to reset),
// CVE-2024-27316 and its kin (CONTINUATION), CVE-2019-9512 to 9518 (PING, SETTINGS, PRIORITY, empty frames).
#include "server/grpc/proxy/client_guard.h"

#include <algorithm>
#include <utility>

namespace coppice::server {
namespace {

using http2::ErrorCode;
using http2::FrameHeader;
using http2::FrameType;

// What a frame costs of GuardLimits::control.
constexpr double kControlCost = 1;    // PING, WINDOW_UPDATE, PRIORITY, unknown types: a few instructions each
constexpr double kSettingsCost = 10;  // each is acknowledged and may resize every window
constexpr double kEmptyCost = 10;     // DATA of no bytes that ends nothing has no use
constexpr double kTinyCost = 1;       // DATA of few bytes that ends nothing

constexpr std::uint32_t kTinyBytes = 256;  // a request in pieces smaller than this costs more than it brings

// What is earned. A client answers a frame of an answer with a WINDOW_UPDATE for the stream, one for the connection and
// a PING of its bandwidth estimate; a stream brings a PRIORITY, and its request in a few pieces.
constexpr double kEarnedByServerFrame = 4;
constexpr double kEarnedByStream = 8;

constexpr std::uint32_t kClientParity = 1;  // clients open odd streams (RFC 9113, 5.1.1)

constexpr Refusal broken(const char* words) {
  return {"protocol", words};
}

}  // namespace

bool ClientGuard::refuse(ErrorCode code, const Refusal& refusal) {
  if (!verdict_) {
    verdict_ = GuardVerdict{code, refusal};
  }
  return false;
}

bool ClientGuard::spend(double cost, Clock::time_point now) {
  return control_.take(cost, now) ||
         refuse(ErrorCode::kEnhanceYourCalm,
                {"control_frames", "too many frames that carry no request (PING, SETTINGS, empty DATA ...)"});
}

bool ClientGuard::charge_reset(Clock::time_point now) {
  ++reset_count_;
  return resets_.take(1, now) || refuse(ErrorCode::kEnhanceYourCalm, {"resets", "too many streams reset"});
}

void ClientGuard::make_whole(Stream& stream) {
  if (!stream.is_whole) {
    stream.is_whole = true;
    --partial_;
    partial_bytes_ -= std::exchange(stream.bytes, 0);
  }
}

void ClientGuard::close(std::uint32_t stream, Clock::time_point now) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) {
    return;
  }
  make_whole(found->second);
  streams_.erase(found);
  if (streams_.empty()) {
    quiet_since_ = now;
  }
}

std::size_t ClientGuard::partial_streams_before(Clock::time_point time) const {
  return static_cast<std::size_t>(std::count_if(streams_.begin(), streams_.end(), [time](const auto& entry) {
    return !entry.second.is_whole && entry.second.opened < time;
  }));
}

std::optional<GuardVerdict> ClientGuard::from_client(std::string_view bytes, Clock::time_point now) {
  client_.scan(bytes, [&](const FrameHeader& frame) { return client_frame(frame, now); });
  return verdict_;
}

bool ClientGuard::client_frame(const FrameHeader& frame, Clock::time_point now) {
  if (frame.length > http2::kFrameBytesMax) {
    return refuse(ErrorCode::kFrameSize, broken("a frame larger than 16384 bytes"));
  }
  if (!has_begun_) {
    if (frame.type != FrameType::kSettings) {
      return refuse(ErrorCode::kProtocol, broken("the first frame is not SETTINGS"));
    }
    has_begun_ = true;
  }
  if ((block_stream_ != 0) != (frame.type == FrameType::kContinuation)) {
    return refuse(ErrorCode::kProtocol, broken("a header block cut by another frame, or CONTINUATION outside of one"));
  }
  switch (frame.type) {
    case FrameType::kData:
      return on_data(frame, now);
    case FrameType::kHeaders:
      return on_headers(frame, now);
    case FrameType::kContinuation:
      return on_continuation(frame);
    case FrameType::kResetStream:
      return on_reset(frame.stream, now);
    case FrameType::kPushPromise:
      return refuse(ErrorCode::kProtocol, broken("PUSH_PROMISE from a client"));
    case FrameType::kSettings:
    case FrameType::kGoAway:
      return spend(kSettingsCost, now);
    case FrameType::kPriority:
    case FrameType::kPing:
    case FrameType::kWindowUpdate:
      break;
  }
  return spend(kControlCost, now);  // unknown types too
}

bool ClientGuard::on_headers(const FrameHeader& frame, Clock::time_point now) {
  if (frame.stream % 2 != kClientParity) {
    return refuse(ErrorCode::kProtocol, broken("HEADERS on a stream that is not a client's"));
  }
  block_bytes_ = frame.length;
  block_frames_ = 0;
  block_stream_ = frame.has(http2::kEndHeaders) ? 0 : frame.stream;
  const bool is_end = frame.has(http2::kEndStream);
  if (frame.stream > last_stream_) {
    last_stream_ = frame.stream;
    streams_.emplace(frame.stream, Stream{.opened = now, .bytes = 0, .is_whole = is_end});
    partial_ += is_end ? 0 : 1;
    control_.give(kEarnedByStream);
    return streams_.size() <= limits_.streams_max ||
           refuse(ErrorCode::kEnhanceYourCalm, {"streams", "too many streams at once"});
  }
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end() || found->second.is_whole) {
    return charge_reset(now);  // the server answers with RST_STREAM
  }
  if (is_end) {
    make_whole(found->second);
  }
  return spend(kControlCost, now);
}

bool ClientGuard::on_continuation(const FrameHeader& frame) {
  block_bytes_ += frame.length;
  ++block_frames_;
  if (frame.stream != block_stream_) {
    return refuse(ErrorCode::kProtocol, broken("CONTINUATION of another stream"));
  }
  if (block_bytes_ > limits_.header_bytes_max || block_frames_ > limits_.continuations_max) {
    return refuse(ErrorCode::kEnhanceYourCalm, {"header_block", "a header block that is too long"});
  }
  if (frame.has(http2::kEndHeaders)) {
    block_stream_ = 0;
  }
  return true;
}

bool ClientGuard::on_data(const FrameHeader& frame, Clock::time_point now) {
  if (frame.stream == 0 || frame.stream > last_stream_) {
    return refuse(ErrorCode::kProtocol, broken("DATA on a stream that was never opened"));
  }
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end() || found->second.is_whole) {
    return spend(kControlCost, now);  // on its way when the stream ended
  }
  Stream& stream = found->second;
  if (frame.has(http2::kEndStream)) {
    make_whole(stream);
    return true;
  }
  stream.bytes += frame.length;
  partial_bytes_ += frame.length;
  if (frame.length >= kTinyBytes) {
    return true;
  }
  return spend(frame.length == 0 ? kEmptyCost : kTinyCost, now);
}

bool ClientGuard::on_reset(std::uint32_t stream, Clock::time_point now) {
  if (stream == 0 || stream > last_stream_) {
    return refuse(ErrorCode::kProtocol, broken("RST_STREAM of a stream that was never opened"));
  }
  close(stream, now);
  return charge_reset(now);
}

void ClientGuard::from_server(std::string_view bytes, Clock::time_point now) {
  server_.scan(bytes, [&](const FrameHeader& frame) {
    server_frame(frame, now);
    return true;
  });
}

void ClientGuard::server_frame(const FrameHeader& frame, Clock::time_point now) {
  control_.give(kEarnedByServerFrame);
  if (frame.type == FrameType::kResetStream && streams_.contains(frame.stream)) {
    close(frame.stream, now);
    charge_reset(now);
  } else if ((frame.type == FrameType::kData || frame.type == FrameType::kHeaders) && frame.has(http2::kEndStream)) {
    close(frame.stream, now);
  }
}

}  // namespace coppice::server
