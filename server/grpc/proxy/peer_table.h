// PeerTable: what an address has done, over all its connections: a client that is sent away for its resets must not
// begin anew with each connection.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/net/token_bucket.h"

namespace coppice::server {

// Owner: the proxy. Thread: any. Bounded: it forgets addresses that have been quiet, and all when there are too many.
class PeerTable {
 public:
  using Clock = std::chrono::steady_clock;

  // Counts resets of an address; an IPv6 address stands for its /64, which is what a subscriber gets. False: too many.
  bool take_resets(const boost::asio::ip::address& address, double count, Clock::time_point now);
  // False: the address has reset too much lately; its new connections are closed.
  bool admits(const boost::asio::ip::address& address, Clock::time_point now);

 private:
  // Of one address: twice what one connection may; a site behind one proxy cancels less.
  static constexpr BucketRate kResets = {4000, 400};
  static constexpr double kAdmitLevel = 400;          // a second's worth must be there for a new connection
  static constexpr std::size_t kAddressesMax = 4096;  // some 400 KB

  std::mutex mutex_;
  absl::flat_hash_map<std::string, TokenBucket> buckets_;  // of addresses that have reset
};

}  // namespace coppice::server
