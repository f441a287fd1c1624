// Waiting for signals on a thread of its own.
#include "server/app/signal_watch.h"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <string_view>

#include "base/stderr_line.h"

namespace coppice::server {
namespace {

constexpr long kPollNanoseconds = 100'000'000;  // 0.1 s: how late the end of the watch may be noticed
constexpr int kExitInterrupted = 130;           // 128 + SIGINT, as shells report it
constexpr int kExitStuck = 1;                   // failed at work

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

// No destructor runs: any of them may be what does not end.
[[noreturn]] void end_at_once(std::string_view line, int code) {
  base::write_stderr(line);
  _exit(code);
}

}  // namespace

SignalWatch::SignalWatch() {
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a client that leaves is an error code, not an end
  thread_ = std::thread([this] { run(); });
}

SignalWatch::~SignalWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_over_ = true;
  }
  thread_.join();
}

void SignalWatch::expect_orderly_end(std::chrono::milliseconds time_to_end) {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_orderly_ = true;
  time_to_end_ = time_to_end;
}

SignalAsk SignalWatch::wait_for(std::chrono::milliseconds duration) {
  std::unique_lock<std::mutex> lock(mutex_);
  asked_.wait_for(lock, duration, [this] { return is_asked_ || is_reload_asked_; });
  if (is_asked_) {
    return SignalAsk::kEnd;
  }
  const bool is_reload = is_reload_asked_;
  is_reload_asked_ = false;
  return is_reload ? SignalAsk::kReload : SignalAsk::kNothing;
}

void SignalWatch::run() {
  const sigset_t set = watched_signals();
  const timespec poll = {0, kPollNanoseconds};
  while (true) {
    const int signal = sigtimedwait(&set, nullptr, &poll);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (is_over_) {
      return;
    }
    if (signal > 0) {
      take(signal);
    }
    if (is_asked_ && std::chrono::steady_clock::now() > deadline_) {
      end_at_once(fmt::format("coppice: not ended {} s after it was asked to; ends at once\n",
                              std::chrono::duration_cast<std::chrono::seconds>(time_to_end_).count()),
                  kExitStuck);
    }
  }
}

// REQUIRES: mutex_.
void SignalWatch::take(int signal) {
  if (signal == SIGHUP) {
    is_reload_asked_ = true;
  } else if (!is_orderly_ || is_asked_) {
    end_at_once("coppice: interrupted\n", kExitInterrupted);
  } else {
    is_asked_ = true;
    deadline_ = std::chrono::steady_clock::now() + time_to_end_;
  }
  asked_.notify_all();
}

}  // namespace coppice::server
