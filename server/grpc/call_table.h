// CallTable: the calls that are alive, of all and of each tenant, and how long each has waited for its client to read.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "grpcpp/server_context.h"

namespace coppice::server {

// Owner: the gRPC server. Thread: any.
class CallTable {
 public:
  using Clock = std::chrono::steady_clock;

  // At most `most` calls; where there are API keys, one tenant has half of them at most.
  explicit CallTable(std::int64_t most) : most_(most) {}

  // One call's line. Owner: the call. Thread: any, except leave().
  class Entry {
   public:
    explicit Entry(grpc::CallbackServerContext& context) : context_(&context) {}

    // gRPC has been given something for the client, or the client has taken it.
    void waits_for_client(bool waits);
    // gRPC's last callback: the context is gone afterwards. Called once.
    void leave();

   private:
    friend class CallTable;
    void cancel_if_unread_since(Clock::time_point time);

    std::mutex mutex_;
    grpc::CallbackServerContext* context_;  // null after leave(); guarded by mutex_, as below
    Clock::time_point waiting_since_{};     // zero: it does not wait
  };

  // A place in the table; gone with its owner. Null: there are too many calls, or too many of this tenant.
  class Place;
  std::unique_ptr<Place> enter(const std::string& tenant, grpc::CallbackServerContext& context);

  std::int64_t alive() const;
  // Of these, the ones that are waited for (Place::goes_on_for_ever).
  std::int64_t ending() const;
  // Ends the calls whose clients have read nothing for `patience`. Blocks for microseconds a call.
  void cancel_unread(std::chrono::milliseconds patience, Clock::time_point now = Clock::now());

 private:
  const std::int64_t most_;
  mutable std::mutex mutex_;
  std::int64_t endless_ = 0;                                           // calls; guarded by mutex_, as below
  std::map<std::string, std::int64_t> tenants_;                        // calls
  absl::flat_hash_map<const Entry*, std::shared_ptr<Entry>> entries_;  // the calls that are alive
};

class CallTable::Place {
 public:
  Place(CallTable& table, std::string tenant, std::shared_ptr<Entry> entry)
      : table_(table), tenant_(std::move(tenant)), entry_(std::move(entry)) {}
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  Entry& entry() const { return *entry_; }
  // The call has no end of its own: a drain does not wait for it. Called once at most, by the owner.
  void goes_on_for_ever();

 private:
  CallTable& table_;
  const std::string tenant_;
  const std::shared_ptr<Entry> entry_;
  bool is_endless_ = false;  // guarded by table_.mutex_
};

}  // namespace coppice::server
