// One bucket an address.
#include "server/grpc/proxy/peer_table.h"

#include <algorithm>

namespace coppice::server {
namespace {

constexpr std::size_t kSubnetBytes = 8;  // of an IPv6 address: a /64

std::string key_of(const boost::asio::ip::address& address) {
  if (address.is_v6() && !address.to_v6().is_v4_mapped()) {
    const auto bytes = address.to_v6().to_bytes();
    return {bytes.begin(), bytes.begin() + kSubnetBytes};
  }
  const auto bytes = address.is_v4()
                         ? address.to_v4().to_bytes()
                         : boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6()).to_bytes();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

bool PeerTable::take_resets(const boost::asio::ip::address& address, double count, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (buckets_.size() >= kAddressesMax) {
    absl::erase_if(buckets_, [now](auto& entry) { return entry.second.level(now) >= kResets.burst; });
    if (buckets_.size() >= kAddressesMax) {
      buckets_.clear();
    }
  }
  TokenBucket& bucket = buckets_.try_emplace(key_of(address), kResets).first->second;
  if (bucket.take(count, now)) {
    return true;
  }
  bucket.take(bucket.level(now), now);
  return false;
}

bool PeerTable::admits(const boost::asio::ip::address& address, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = buckets_.find(key_of(address));
  return found == buckets_.end() || found->second.level(now) >= kAdmitLevel;
}

}  // namespace coppice::server
