// The name of one end of a pair is read at the other.
#include "server/grpc/proxy/client_name.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstddef>
#include <string>

namespace coppice::server {
namespace {

// What gRPC makes a name of, less its own words.
std::string name_of_peer(int handle) {
  sockaddr_un address{};
  socklen_t size = sizeof(address);
  REQUIRE(getpeername(handle, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return {address.sun_path, size - offsetof(sockaddr_un, sun_path)};
}

TEST_CASE("an address goes through the pair") {
  for (const char* const address : {"127.0.0.1", "::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"}) {
    for (int round = 0; round < 2; ++round) {  // the same client twice
      std::array<int, 2> pair{};
      REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0);
      name_after_client(pair[0], {boost::asio::ip::make_address(address), 4711});
      CHECK(client_of_name(name_of_peer(pair[1])) == address);
      CHECK(client_of_name(name_of_peer(pair[0])) == "unknown");
      close(pair[0]);
      close(pair[1]);
    }
  }
}

TEST_CASE("names that hold no client, and those that gRPC has escaped") {
  CHECK(client_of_name("") == "unknown");
  CHECK(client_of_name("unix:") == "unknown");
  CHECK(client_of_name("unix-abstract:1-2-coppice-client=::1=") == "::1");
}

}  // namespace
}  // namespace coppice::server
