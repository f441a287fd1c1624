// An abstract name (unix(7)): it is no file, and no socket listens on it. It begins with the process and a number, so
// that no two are the same.
#include "server/grpc/proxy/client_name.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace coppice::server {
namespace {

constexpr std::string_view kBegin = "coppice-client=";
constexpr std::string_view kEnd = "=";

}  // namespace

void name_after_client(int handle, const boost::asio::ip::tcp::endpoint& client) {
  static std::atomic<std::uint64_t> next{0};
  const std::string name =
      fmt::format("{}-{}-{}{}{}", ::getpid(), next.fetch_add(1), kBegin, client.address().to_string(), kEnd);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;  // and a zero byte before the name
  const std::size_t bytes = std::min(name.size(), sizeof(address.sun_path) - 1);
  std::copy_n(name.begin(), bytes, address.sun_path + 1);
  (void)::bind(handle, reinterpret_cast<const sockaddr*>(&address),
               static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + bytes));
}

std::string client_of_name(std::string_view name) {
  const std::size_t begin = name.find(kBegin);
  if (begin == std::string_view::npos) {
    return "unknown";
  }
  const std::string_view rest = name.substr(begin + kBegin.size());
  return std::string(rest.substr(0, rest.find(kEnd)));
}

}  // namespace coppice::server
