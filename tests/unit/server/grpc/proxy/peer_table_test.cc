// Resets are counted for an address, over its connections.
#include "server/grpc/proxy/peer_table.h"

#include <catch2/catch.hpp>

namespace coppice::server {
namespace {

using boost::asio::ip::make_address;

TEST_CASE("an address that resets too much is not admitted until it has been quiet") {
  PeerTable table;
  auto now = PeerTable::Clock::now();
  const auto hostile = make_address("192.0.2.1");
  CHECK(table.admits(hostile, now));
  CHECK(table.take_resets(hostile, 3000, now));
  CHECK(table.admits(hostile, now));
  CHECK(!table.take_resets(hostile, 3000, now));
  CHECK(!table.admits(hostile, now));
  CHECK(table.admits(make_address("192.0.2.2"), now));
  CHECK(!table.admits(make_address("::ffff:192.0.2.1"), now));  // the same client on a socket of both families
  now += std::chrono::seconds(2);
  CHECK(table.admits(hostile, now));
}

TEST_CASE("an IPv6 subscriber is one client") {
  PeerTable table;
  const auto now = PeerTable::Clock::now();
  CHECK(!table.take_resets(make_address("2001:db8::1"), 5000, now));
  CHECK(!table.admits(make_address("2001:db8::2"), now));
  CHECK(table.admits(make_address("2001:db8:0:1::1"), now));
}

TEST_CASE("the table forgets rather than grows") {
  PeerTable table;
  auto now = PeerTable::Clock::now();
  for (unsigned i = 0; i < 20000; ++i) {
    CHECK(table.take_resets(boost::asio::ip::address_v4(i + 1), 1, now));
    now += std::chrono::microseconds(10);
  }
}

}  // namespace
}  // namespace coppice::server
