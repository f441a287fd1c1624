// Numbers on the wire are big-endian; the highest bit of a stream's number is reserved.
#include "server/grpc/proxy/http2.h"

namespace coppice::server::http2 {
namespace {

constexpr std::uint32_t kStreamMask = 0x7fffffffU;  // the bits of a number

void put_number(std::string& out, std::uint32_t value, unsigned bytes) {
  for (unsigned i = bytes; i-- > 0;) {
    out.push_back(static_cast<char>((value >> (8 * i)) & 0xffU));
  }
}

}  // namespace

FrameHeader read_frame_header(const std::array<std::uint8_t, kFrameHeaderBytes>& bytes) {
  FrameHeader header;
  header.length = std::uint32_t{bytes[0]} << 16U | std::uint32_t{bytes[1]} << 8U | bytes[2];
  header.type = static_cast<FrameType>(bytes[3]);
  header.flags = bytes[4];
  header.stream =
      (std::uint32_t{bytes[5]} << 24U | std::uint32_t{bytes[6]} << 16U | std::uint32_t{bytes[7]} << 8U | bytes[8]) &
      kStreamMask;
  return header;
}

std::string write_frame_header(const FrameHeader& header) {
  std::string out;
  put_number(out, header.length, 3);
  out.push_back(static_cast<char>(header.type));
  out.push_back(static_cast<char>(header.flags));
  put_number(out, header.stream & kStreamMask, 4);
  return out;
}

std::string write_go_away(std::uint32_t last_stream, ErrorCode code, std::string_view why) {
  FrameHeader header;
  header.length = static_cast<std::uint32_t>(8 + why.size());  // two numbers before the words
  header.type = FrameType::kGoAway;
  std::string out = write_frame_header(header);
  put_number(out, last_stream & kStreamMask, 4);
  put_number(out, static_cast<std::uint32_t>(code), 4);
  out += why;
  return out;
}

}  // namespace coppice::server::http2
