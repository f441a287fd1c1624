// FrameScanner: finds the headers of HTTP/2 frames in bytes that arrive in pieces of any size, without keeping
// payloads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "server/grpc/proxy/http2.h"

namespace coppice::server {

// Owner: one direction of a connection. Thread: the connection's. A value.
class FrameScanner {
 public:
  // Calls on_frame(http2::FrameHeader) for each header that `bytes` completes, in order, until it returns false.
  // False: on_frame did. Linear in the bytes; payloads are skipped.
  template <typename OnFrame>
  bool scan(std::string_view bytes, OnFrame&& on_frame) {
    while (!bytes.empty()) {
      if (payload_left_ > 0) {
        const auto skipped = std::min<std::size_t>(payload_left_, bytes.size());
        payload_left_ -= static_cast<std::uint32_t>(skipped);
        bytes.remove_prefix(skipped);
        continue;
      }
      const std::size_t copied = std::min(header_.size() - header_bytes_, bytes.size());
      std::copy_n(bytes.begin(), copied, header_.begin() + static_cast<std::ptrdiff_t>(header_bytes_));
      header_bytes_ += copied;
      bytes.remove_prefix(copied);
      if (header_bytes_ == header_.size()) {
        header_bytes_ = 0;
        const http2::FrameHeader header = http2::read_frame_header(header_);
        payload_left_ = header.length;
        if (!on_frame(header)) {
          return false;
        }
      }
    }
    return true;
  }

  // Between two frames: a frame of the proxy's own may go here.
  bool at_boundary() const { return payload_left_ == 0 && header_bytes_ == 0; }

 private:
  std::array<std::uint8_t, http2::kFrameHeaderBytes> header_{};
  std::size_t header_bytes_ = 0;  // of header_ that are there
  std::uint32_t payload_left_ = 0;
};

}  // namespace coppice::server
