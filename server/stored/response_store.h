// ResponseStore: responses of /v1/responses that may be asked for again, or that a conversation goes on from. In
// memory, bounded for each tenant in bytes and number, and gone after a time without use: least recently used first.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "proto/openai/api_error.h"
#include "server/stored/memory_meter.h"

namespace coppice::server {

struct ResponseStoreLimits {
  std::size_t server_bytes = std::size_t{256} << 20U;
  std::size_t tenant_bytes = std::size_t{128} << 20U;          // half: a tenant alone never fills the store
  std::size_t tenant_responses = 4096;                         // of one tenant
  std::chrono::seconds time_to_live = std::chrono::hours{24};  // without use
};

// A response's part of a conversation, and what was said before. Immutable. Thread: any.
struct StoredTurn {
  StoredTurn() = default;
  ~StoredTurn();
  StoredTurn(const StoredTurn&) = delete;
  StoredTurn& operator=(const StoredTurn&) = delete;

  std::string response_id;
  std::string input;                                   // items as JSON, an array
  std::string output;                                  // likewise
  mutable std::shared_ptr<const StoredTurn> previous;  // null: the first; mutable for the destructor alone
  MeteredBytes bytes;
};
using TurnPointer = std::shared_ptr<const StoredTurn>;

// Owner: the server's state. Thread: any.
class ResponseStore {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ResponseStore(const ResponseStoreLimits& limits, std::function<Clock::time_point()> now = Clock::now);
  ~ResponseStore();
  ResponseStore(const ResponseStore&) = delete;
  ResponseStore& operator=(const ResponseStore&) = delete;

  // Keeps a response that has ended; older ones go for it. One that, with the conversation before it, is larger than a
  // tenant's part is not kept.
  void put(const std::string& tenant, const std::string& id, std::string object, const std::string& input,
           const std::string& output, TurnPointer previous);

  // A response that runs in the background.
  struct Running {
    std::string object;            // while it runs
    std::string cancelled_object;  // once it is cancelled
    std::string input;
    TurnPointer previous;
    std::function<void()> stop;  // ends the run; called once at most, without a lock held, on any thread
  };
  // ERRORS: 429 when as many run as the tenant may store.
  openai::MaybeError begin(const std::string& tenant, const std::string& id, Running running);
  // Replaces the object of one that runs.
  void update(const std::string& tenant, const std::string& id, std::string object);
  // Its end. Nothing happens when it was cancelled or deleted meanwhile. `output`: its items; none: it has failed.
  void end(const std::string& tenant, const std::string& id, std::string object, std::optional<std::string> output);

  struct Found {
    std::string object;
    TurnPointer turn;  // null: it runs, has failed or was cancelled
    bool is_background = false;
    bool is_running = false;
  };
  // None: no such response of this tenant. Counts as use.
  std::optional<Found> find(const std::string& tenant, const std::string& id);
  // Stops the one that runs; one that has ended stays as it is.
  std::optional<Found> cancel(const std::string& tenant, const std::string& id);
  // False: there was none. Stops the one that runs.
  bool erase(const std::string& tenant, const std::string& id);
  // All responses of tenants that are no more.
  void drop_tenants(std::span<const std::string> tenants);
  // Drops what has not been used for long. To be called some times a second or a minute.
  void expire();

  std::size_t bytes() const { return meter_->bytes(); }
  std::size_t responses() const;

 private:
  struct Entry;
  struct Tenant;
  using Order = std::list<std::string>;
  using Stops = std::list<std::function<void()>>;

  Tenant& tenant_at(const std::string& name);
  Entry* entry_at(const std::string& tenant, const std::string& id);
  bool could_hold(std::size_t bytes) const;
  bool make_room(Tenant& tenant, std::size_t bytes);
  void touch(Tenant& tenant, Entry& entry, const std::string& id);
  bool drop_oldest(Tenant& tenant);
  void drop_if_empty(const std::string& name);

  const ResponseStoreLimits limits_;
  const std::function<Clock::time_point()> now_;
  const std::shared_ptr<MemoryMeter> meter_ = std::make_shared<MemoryMeter>();
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Tenant>> tenants_;  // guarded by mutex_
};

}  // namespace coppice::server
