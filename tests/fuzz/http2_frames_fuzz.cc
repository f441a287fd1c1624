// Frames of a client and a server, in pieces. Input: pieces of [side and length, bytes]. Besides not crashing: counts
// stay within bounds, and how the bytes are cut changes no verdict.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/grpc/proxy/client_guard.h"

namespace coppice::server {
namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

GuardLimits fuzz_limits() {
  GuardLimits limits;
  limits.streams_max = 8;
  limits.header_bytes_max = 100;
  limits.continuations_max = 4;
  limits.resets = {10, 1};
  limits.control = {50, 1};
  return limits;
}

void check(const ClientGuard& guard, const GuardLimits& limits) {
  require(guard.open_streams() <= limits.streams_max + 1);  // the one too many has its verdict
  require(guard.running_streams() <= guard.open_streams());
  const auto later = ClientGuard::Clock::now() + std::chrono::hours(1);
  require(guard.partial_streams_before(later) == guard.open_streams() - guard.running_streams());
  require(guard.partial_bytes() == 0 || guard.open_streams() > guard.running_streams());
}

void run(std::string_view input) {
  const GuardLimits limits = fuzz_limits();
  ClientGuard whole(limits);
  ClientGuard cut(limits);
  auto now = ClientGuard::Clock::now();
  while (!input.empty()) {
    const auto head = static_cast<unsigned char>(input.front());
    input.remove_prefix(1);
    const std::string_view piece = input.substr(0, head >> 1U);
    input.remove_prefix(piece.size());
    now += std::chrono::milliseconds(1);
    if ((head & 1U) != 0) {
      whole.from_server(piece, now);
      for (const char byte : piece) {
        cut.from_server({&byte, 1}, now);
      }
    } else {
      const bool ends = whole.from_client(piece, now).has_value();
      bool cut_ends = false;
      for (const char byte : piece) {
        cut_ends = cut_ends || cut.from_client({&byte, 1}, now).has_value();
      }
      require(piece.empty() || ends == (cut_ends || cut.verdict().has_value()));
      if (ends) {
        return;
      }
    }
    check(whole, limits);
    require(whole.open_streams() == cut.open_streams() && whole.partial_bytes() == cut.partial_bytes());
  }
}

}  // namespace
}  // namespace coppice::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  coppice::server::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
