// PoolTask: work on the pool for one request, and what follows on the request's own thread, unless the request has
// ended by then.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "proto/openai/api_error.h"
#include "server/http/exchange.h"
#include "server/work/work_pool.h"

namespace coppice::server {

// Owner: a handler. Thread: the connection's. Destroying it cancels: what waits in the pool never runs, what runs is
// told by its flag, what it leaves behind is dropped.
class PoolTask {
 public:
  using Done = std::function<void()>;
  // `failed` hears, on the connection's thread, of whatever the work or its end throws: the request is answered 500.
  using Failed = std::function<void(const openai::ApiError& error)>;
  // Runs on the pool; returns what to do on the connection's thread. It must own what it reads.
  using Work = std::function<Done(const CancelFlag& cancelled)>;

  PoolTask(Exchange::Poster poster, Failed failed);
  ~PoolTask();
  PoolTask(const PoolTask&) = delete;
  PoolTask& operator=(const PoolTask&) = delete;

  // Returns what brings an end to the connection's thread: to be called on any thread, once at most.
  std::function<void(Done)> bringer() const;

  // False: the pool is full, and nothing will happen.
  bool start(WorkPool& pool, std::string_view tenant, std::size_t bytes, Work work);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace coppice::server
