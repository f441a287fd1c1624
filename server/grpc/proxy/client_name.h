// Who a client is, across the socket pair to gRPC: the proxy's end of the pair is given a name that holds the client's
// address, and a call's context has the name of the other end of its connection.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <string_view>

namespace coppice::server {

// Names the socket `handle`, one end of a pair. Where the system refuses, it stays without a name.
void name_after_client(int handle, const boost::asio::ip::tcp::endpoint& client);

// The client's address, "127.0.0.1" or "::1", from the name of the pair's other end as gRPC writes it; "unknown" when
// it holds none.
std::string client_of_name(std::string_view name);

}  // namespace coppice::server
