// Bytes of a connection: headers, chunks, trailers. The first byte says how the rest is cut in pieces: the requests
// found must not depend on it, and hold their bounds.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/request_parser.h"

namespace coppice::server {
namespace {

constexpr std::size_t kBodyMax = 512;   // bytes; small, so that the bound is met
constexpr std::size_t kFieldsMax = 16;  // likewise

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

struct Found {
  std::vector<std::string> requests;  // method, target, headers, body
  int status = 0;                     // of the refusal that ended them
};

std::string describe(const HttpRequest& request) {
  std::string text = request.method + " " + request.target + "\n";
  for (const auto& [name, value] : request.headers) {
    text += name + ": " + value + "\n";
  }
  return text + request.body;
}

Found parse(std::string_view bytes, std::size_t piece) {
  ParserLimits limits;
  limits.header_bytes_max = 2048;
  limits.header_fields_max = kFieldsMax;
  limits.body_bytes_max = kBodyMax;
  Found found;
  std::string inbox;
  auto parser = std::make_unique<RequestParser>(limits);
  while (!bytes.empty()) {
    inbox += bytes.substr(0, piece);
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (!inbox.empty()) {
      const std::size_t used = parser->feed(inbox);
      require(used <= inbox.size());
      inbox.erase(0, used);
      require(parser->body_bytes() <= kBodyMax);
      if (parser->error()) {
        found.status = parser->error()->status;
        require(found.status >= 400 && found.status < 500 && !parser->error()->message.empty());
        return found;
      }
      if (!parser->done()) {
        break;
      }
      const HttpRequest request = parser->take();
      require(request.headers.size() <= kFieldsMax + 1 && request.body.size() <= kBodyMax);
      found.requests.push_back(describe(request));
      parser = std::make_unique<RequestParser>(limits);
      if (used == 0) {
        break;
      }
    }
  }
  return found;
}

}  // namespace
}  // namespace coppice::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = coppice::server::parse(bytes, bytes.size());
  const auto pieces = coppice::server::parse(bytes, 1 + data[0] % 16);
  if (whole.requests != pieces.requests) {
    std::abort();
  }
  return 0;
}
