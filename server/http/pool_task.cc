// The state outlives the task: it belongs to the job too. Whether the task is there is only asked on its own thread.
#include "server/http/pool_task.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <exception>
#include <utility>

namespace coppice::server {

struct PoolTask::State {
  CancelFlag cancelled{false};
  Exchange::Poster poster;
  Failed failed;
};

namespace {

openai::ApiError failure(const std::exception& error) {
  spdlog::error("http: a request failed: {}", error.what());
  return openai::internal_error(fmt::format("the request could not be served: {}", error.what()));
}

}  // namespace

PoolTask::PoolTask(Exchange::Poster poster, Failed failed) : state_(std::make_shared<State>()) {
  state_->poster = std::move(poster);
  state_->failed = std::move(failed);
}

PoolTask::~PoolTask() {
  state_->cancelled = true;
}

std::function<void(PoolTask::Done)> PoolTask::bringer() const {
  return [state = state_](Done done) {
    state->poster([state, done = std::move(done)] {
      if (state->cancelled) {
        return;
      }
      try {
        done();
      } catch (const std::exception& error) {
        state->failed(failure(error));
      }
    });
  };
}

bool PoolTask::start(WorkPool& pool, std::string_view tenant, std::size_t bytes, Work work) {
  return pool.post(tenant, bytes, [state = state_, bring = bringer(), work = std::move(work)]() mutable {
    if (state->cancelled) {
      return;
    }
    Done done;
    try {
      done = work(state->cancelled);
    } catch (const std::exception& error) {
      done = [state, error = failure(error)] { state->failed(error); };
    }
    work = nullptr;  // its memory goes before the answer
    bring(std::move(done));
  });
}

}  // namespace coppice::server
