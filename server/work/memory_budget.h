// MemoryBudget: bounds the memory that requests hold, from the first byte of a body to the last event of the answer.
// Each request, each tenant and the server as a whole have a bound; what a request holds is one lease with several
// parts.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "proto/openai/api_error.h"

namespace coppice::server {

struct MemoryLimits {
  // A body of 16 MiB while it is read as JSON and its text is tokenised, with room to spare.
  std::size_t request_bytes = std::size_t{256} << 20U;
  std::size_t tenant_bytes = std::size_t{512} << 20U;   // half: a tenant alone never fills the server
  std::size_t server_bytes = std::size_t{1024} << 20U;  // beside weights and KV cache
};

// The parts of one request's memory; each is set by the one who holds it.
enum class MemoryPart : std::uint8_t {
  kBody,    // as received
  kWork,    // parsed JSON, text being tokenised; later tokens, choices, answers not yet written
  kWriter,  // of a streamed answer, kept to be repeated at its end or stored
  kOutput,  // written, not yet taken by the client
};

// Owner: the app; outlives its leases. Thread: any.
class MemoryBudget {
 public:
  // Bytes of every request that are not counted, so that ordinary requests go on while large ones fill the budget: a
  // prompt of some ten thousand tokens.
  static constexpr std::size_t kFreeBytes = std::size_t{64} << 10U;

  explicit MemoryBudget(const MemoryLimits& limits = {}) : limits_(limits) {}

  // What one request holds; given back by its destructor. Owner: shared by the request's connection, job and handler.
  // Thread: any.
  class Lease {
   public:
    explicit Lease(MemoryBudget& budget) : budget_(budget) {}
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // What is held so far counts for this tenant too, from now on.
    void set_tenant(std::string tenant);
    // The part has `bytes` bytes now. ERRORS: 413 when no request may hold as much, 429 when others hold too much now;
    // the part then stays as it was. Never for fewer bytes than before.
    openai::MaybeError set(MemoryPart part, std::size_t bytes);

    // The body has `bytes` bytes by now, and more will come. Bodies on their way may take half of what a tenant and the
    // server have: clients that send slowly do not keep the rest from working. ERRORS: as above.
    openai::MaybeError receive(std::size_t bytes);
    // The body is whole.
    void received();

   private:
    friend class MemoryBudget;
    static constexpr std::size_t kParts = 4;  // of MemoryPart

    openai::MaybeError set_locked(MemoryPart part, std::size_t bytes);

    MemoryBudget& budget_;
    std::string tenant_;  // this and what follows: guarded by the budget's mutex
    std::array<std::size_t, kParts> parts_{};
    std::size_t counted_ = 0;
    bool is_arriving_ = false;
  };

  std::size_t used() const;
  // Memory that no lease knew of has been freed.
  void give_back(std::size_t bytes);

  using Clock = std::chrono::steady_clock;
  // Hands memory that requests have returned back to the system, once a second when it is much, or no request holds
  // any: the allocator keeps small blocks for ever, and a server that once had a large request would stay large. To be
  // called some times a second. Blocks for some milliseconds: not for an I/O thread.
  void trim(Clock::time_point now = Clock::now());

 private:
  // Bytes beyond what is free.
  struct Use {
    std::size_t bytes = 0;
    std::size_t arriving = 0;  // of bodies on their way, in bytes
  };
  openai::MaybeError refusal(const Lease& lease, std::size_t request_bytes, std::size_t more) const;
  void count(const Lease& lease, std::size_t before, std::size_t after);
  bool is_trim_due(Clock::time_point now);

  const MemoryLimits limits_;
  mutable std::mutex mutex_;
  std::map<std::string, Use> tenants_;  // guarded by mutex_, as all below
  Use used_;
  std::size_t returned_ = 0;    // bytes since the last trim, free ones too
  std::int32_t trims_due_ = 0;  // once no request holds anything
  Clock::time_point trimmed_{};
};

}  // namespace coppice::server
