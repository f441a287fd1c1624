// Listener: a port on one or more addresses, the loop that accepts on it, and what that costs: places for connections
// and for handshakes, file handles, TLS. HTTP and the proxy in front of gRPC each have one.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/net/places.h"
#include "server/net/refusal.h"
#include "server/net/tls_context.h"
#include "server/net/transport.h"

namespace coppice::server {

struct ListenerOptions {
  const char* name = "http";         // begins its log lines; a literal
  const char* port_flag = "--port";  // names it in errors; a literal
  std::string host = "127.0.0.1";    // an address, or a name: then every address that it has
  std::int32_t port = 0;             // 0: any free port
  TlsIdentity tls;                   // empty: plain
  TlsProtocol protocol = TlsProtocol::kHttp1;
  std::int64_t connections_max = 4096;
  std::int64_t handles_each = 1;      // file handles that a connection takes
  double handles_share = 0.375;       // of the process's file handles, for all connections: the rest is for others
  std::int64_t handshakes_max = 256;  // TLS; a quarter of a second of two cores' signatures
};

// Owner: a front end. Thread: all methods from its owner's; the counters from any.
class Listener {
 public:
  struct Client {
    std::unique_ptr<Transport> transport;
    std::unique_ptr<Places::Place> place;  // for as long as it is connected
    boost::asio::ip::tcp::endpoint peer;
    // Connections beyond connections_max, when no loop could make room for it: it is to be refused. 0: it is served.
    std::int64_t over = 0;
  };
  // What the front end does, each on the thread of the loop with that number.
  struct Handlers {
    std::function<void(std::size_t loop, Client client)> take;
    // Ends a connection of the loop that can be spared. False: there is none.
    std::function<bool(std::size_t loop)> make_room;
  };

  // Listens; accepts nothing before start(). Clients go to `loops` in turn. REQUIRES: `loops` and `log` outlive the
  // listener. ERRORS: InvalidArgument naming the flag for an address, a port or a certificate that cannot be used.
  static absl::StatusOr<std::unique_ptr<Listener>> open(const ListenerOptions& options,
                                                        std::vector<boost::asio::io_context*> loops, RefusalLog& log);
  // REQUIRES: no loop runs any more.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Accepts from now on. What a handler throws costs its client alone.
  void start(Handlers handlers);

  std::int32_t port() const;
  std::int64_t connections() const;

  // Connections from now on are shown this identity; those that are open keep theirs. REQUIRES: opened with one.
  // ERRORS: InvalidArgument; the old one stays.
  absl::Status replace_tls(const TlsIdentity& identity);
  // No new connections, very soon.
  void close();

 private:
  struct State;  // belongs to the accepting coroutine too
  explicit Listener(std::shared_ptr<State> state);
  const std::shared_ptr<State> state_;
};

// "127.0.0.1:8080", "[::1]:8080".
std::string address_text(const std::string& host, std::int32_t port);

}  // namespace coppice::server
