// ServerState: what the HTTP and gRPC front ends share while the server starts, serves and drains.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "server/access/api_keys.h"
#include "server/metrics/metrics.h"
#include "server/sessions/model_host.h"
#include "server/sessions/request_id.h"
#include "server/stored/response_store.h"
#include "server/work/memory_budget.h"
#include "server/work/work_pool.h"

namespace coppice::server {

class BatchStore;  // server/batch/batch_store.h
class FileStore;   // server/files/file_store.h
class KvEvents;    // server/kv_events/kv_events.h

enum class Phase : std::uint8_t { kStarting, kServing, kDraining };

// Owner: the app; outlives the front ends. Thread: any.
struct ServerState {
  ServerState(std::string name, ApiKeys api_keys, const MemoryLimits& memory_limits = {})
      : keys(std::move(api_keys)), metrics(std::move(name)), memory(memory_limits) {}

  ApiKeys keys;  // replaced on SIGHUP
  Metrics metrics;
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::atomic<Phase> phase{Phase::kStarting};
  std::atomic<const ModelHost*> host{nullptr};  // set before kServing
  std::atomic<std::int64_t> http_connections{0};
  MemoryBudget memory;                       // of requests, whatever front end they come by
  std::unique_ptr<ResponseStore> responses;  // null, as in tests: none are stored
  std::unique_ptr<WorkPool> work;            // null, as in tests: front ends do the work where it comes up
  FileStore* files = nullptr;                // owned by the app, set before kServing, as is `batches`; null: none
  BatchStore* batches = nullptr;
  KvEvents* kv_events = nullptr;                          // likewise; null: no events are told
  const std::string instance_id = choose_request_id("");  // of this process, for routers
  std::atomic<bool> engine_is_stuck{false};  // requests wait and the engine does not step; set by the app's watch

  // Why a request cannot be taken now: 503, or none while serving.
  openai::MaybeError refusal() const;
  // The same for a request that has just come: it is counted.
  openai::MaybeError turn_away();
};

}  // namespace coppice::server
