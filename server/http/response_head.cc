// RFC 9112, 4 and 6.
#include "server/http/response_head.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <iterator>

namespace coppice::server {
namespace {

constexpr int kNoContent = 204;  // has no body and no length

const char* reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 507:
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

}  // namespace

void write_response_head(const HttpResponse& response, std::string_view more, Framing framing, bool keep_alive,
                         std::string& out) {
  auto end = std::back_inserter(out);
  fmt::format_to(end, "HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
  fmt::format_to(end, "date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(std::time(nullptr)));
  fmt::format_to(end, "content-type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) {
    fmt::format_to(end, "{}: {}\r\n", name, value);
  }
  out += more;
  if (framing == Framing::kChunks) {
    out += "transfer-encoding: chunked\r\n";
  } else if (framing == Framing::kLength && response.status != kNoContent) {
    fmt::format_to(end, "content-length: {}\r\n", response.body.size());
  }
  out += keep_alive ? "connection: keep-alive\r\n\r\n" : "connection: close\r\n\r\n";
}

}  // namespace coppice::server
