// One token of every stream, once a period.
#include "server/front_bench/stub_engine.h"

#include <algorithm>
#include <iterator>
#include <thread>

namespace coppice::server {

bool StubEngine::step() {
  next_ = std::max(next_ + period_, Clock::now());  // what is late is not made up for
  std::this_thread::sleep_until(next_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::move(waiting_.begin(), waiting_.end(), std::back_inserter(running_));
    waiting_.clear();
    for (const engine::RequestId id : std::exchange(cancelled_, {})) {
      std::erase_if(running_, [id](const Stream& stream) { return stream.request.id == id; });
    }
  }
  for (Stream& stream : running_) {
    engine::OutboxEntry entry;
    engine::Event& event = outbox_.event(entry, stream.request.events.get(), stream.request.id, 0);
    event.tokens.push_back({token_, 0, {}});
    board_.emitted(stream.number, stream.emitted++) = FrontBoard::now();
    if (stream.emitted == stream.request.sampling.max_tokens) {
      event.finish = engine::FinishReason::kLength;
      event.usage.prompt_tokens = static_cast<std::int32_t>(stream.request.prompt.size());
      event.usage.completion_tokens = stream.emitted;
    }
  }
  outbox_.flush();
  std::erase_if(running_, [](const Stream& stream) { return stream.emitted == stream.request.sampling.max_tokens; });
  return !running_.empty();
}

}  // namespace coppice::server
