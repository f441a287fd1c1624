// Windows as requests that generate nothing, and the sum of what comes back.
#include "server/scoring/text_score.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace coppice::server {
namespace {

// The windows of one text on their way through an engine.
class Windows {
 public:
  Windows(engine::Engine& engine, std::span<const TokenId> text, const ScoreOptions& options)
      : engine_(engine), text_(text), bos_(options.bos) {
    stride_ = static_cast<std::size_t>(options.window) - (bos_ ? 1 : 0);
    const std::size_t whole = text.size() / stride_;
    const std::size_t rest = text.size() % stride_;
    // A rest without a token that follows another has nothing to score.
    sums_.resize(whole + (rest > (bos_ ? 0 : 1) ? 1 : 0), 0.0);
  }

  std::size_t count() const { return sums_.size(); }
  std::size_t done() const { return done_; }

  // One step of the engine, with as many windows as may be in it.
  absl::Status run_step() {
    COPPICE_RETURN_IF_ERROR(submit_some());
    const std::size_t before = done_;
    const bool is_busy = engine_.step();
    COPPICE_RETURN_IF_ERROR(take_events());
    return is_busy || done_ > before ? absl::OkStatus()
                                     : absl::InternalError("the engine stopped before the text was scored");
  }

  // Leaves the engine idle.
  void cancel() {
    for (const engine::RequestId id : flying_) {
      engine_.cancel(id, -1);
    }
    while (engine_.step()) {
    }
  }

  TextScore score() const {
    return {static_cast<std::int64_t>(count()), tokens_, std::accumulate(sums_.begin(), sums_.end(), 0.0)};
  }

 private:
  absl::Status submit_some() {
    while (submitted_ < count() && flying_.size() < static_cast<std::size_t>(kScoreTogether)) {
      engine::Request request;
      request.id = submitted_ + 1;
      if (bos_) {
        request.prompt.push_back(*bos_);
      }
      const std::size_t begin = submitted_ * stride_;
      const auto tokens = text_.subspan(begin, std::min(stride_, text_.size() - begin));
      request.prompt.insert(request.prompt.end(), tokens.begin(), tokens.end());
      request.sampling.max_tokens = 0;
      request.sampling.prompt_logprobs = 0;
      request.events = queue_;
      if (!engine_.submit(std::move(request))) {
        return absl::InternalError("an idle engine refused a window of the text");
      }
      flying_.push_back(++submitted_);
    }
    return absl::OkStatus();
  }

  absl::Status take_events() {
    for (const engine::Event& event : queue_->take()) {
      if (event.finish == engine::FinishReason::kError) {
        return event.fault == engine::Fault::kRequest ? absl::InvalidArgumentError(event.error)
                                                      : absl::InternalError(event.error);
      }
      double& sum = sums_[static_cast<std::size_t>(event.request) - 1];
      for (const engine::TokenInfo& token : event.prompt) {  // the first has none: nothing stands before it
        sum += static_cast<double>(token.logprob);
      }
      tokens_ += static_cast<std::int64_t>(event.prompt.size());
      if (event.finish != engine::FinishReason::kNone) {
        std::erase(flying_, event.request);
        ++done_;
      }
    }
    return absl::OkStatus();
  }

  engine::Engine& engine_;
  const std::span<const TokenId> text_;
  const std::optional<TokenId> bos_;
  const std::shared_ptr<engine::EventQueue> queue_ = std::make_shared<engine::EventQueue>([] {});
  std::size_t stride_ = 0;    // tokens of the text in a window
  std::vector<double> sums_;  // of each window, so that their order does not matter
  std::size_t submitted_ = 0;
  std::vector<engine::RequestId> flying_;
  std::size_t done_ = 0;
  std::int64_t tokens_ = 0;
};

}  // namespace

double TextScore::perplexity() const {
  return std::exp(-log_likelihood / static_cast<double>(tokens));
}

absl::StatusOr<TextScore> score_tokens(engine::Engine& engine, std::span<const TokenId> text,
                                       const ScoreOptions& options,
                                       const std::function<void(std::size_t, std::size_t)>& progress) {
  if (options.window < 2) {
    return absl::InvalidArgumentError(
        fmt::format("a window of {} tokens has nothing to score; it has at least 2", options.window));
  }
  Windows windows(engine, text, options);
  if (windows.count() == 0) {
    return absl::InvalidArgumentError(
        text.empty() ? "the text is empty: there is nothing to score"
                     : "the text is one token, and nothing stands before it: there is nothing to score");
  }
  while (windows.done() < windows.count()) {
    if (absl::Status status = windows.run_step(); !status.ok()) {
      windows.cancel();
      return status;
    }
    if (progress) {
      progress(windows.done(), windows.count());
    }
  }
  const TextScore score = windows.score();
  if (!std::isfinite(score.log_likelihood)) {
    return absl::InternalError("the model gives a token of the text no chance at all: its log-likelihood is infinite");
  }
  return score;
}

}  // namespace coppice::server
