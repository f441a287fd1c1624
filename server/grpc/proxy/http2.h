// HTTP/2 on the wire, as much of it as a proxy needs that relays frames without decoding their headers (RFC 9113).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace coppice::server::http2 {

// What a client sends first (RFC 9113, 3.4).
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr std::size_t kFrameHeaderBytes = 9;     // RFC 9113, 4.1
inline constexpr std::uint32_t kFrameBytesMax = 16384;  // payload; the default of SETTINGS_MAX_FRAME_SIZE, which stands

// RFC 9113, 6. Other types exist and are ignored by a side that does not know them.
enum class FrameType : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kResetStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

inline constexpr std::uint8_t kEndStream = 0x1;   // of DATA and HEADERS
inline constexpr std::uint8_t kEndHeaders = 0x4;  // of HEADERS and CONTINUATION

// RFC 9113, 7.
enum class ErrorCode : std::uint32_t {
  kNone = 0x0,
  kProtocol = 0x1,
  kFrameSize = 0x6,
  kEnhanceYourCalm = 0xb,
};

struct FrameHeader {
  std::uint32_t length = 0;  // bytes of the payload
  FrameType type = FrameType::kData;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;  // 0: the connection

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

// REQUIRES: kFrameHeaderBytes bytes.
FrameHeader read_frame_header(const std::array<std::uint8_t, kFrameHeaderBytes>& bytes);
std::string write_frame_header(const FrameHeader& header);

// The frame that ends a connection: streams above `last_stream` were not looked at; `why` is for the client's log.
std::string write_go_away(std::uint32_t last_stream, ErrorCode code, std::string_view why);

}  // namespace coppice::server::http2
