// Waiting for signals on a thread of its own.
#include "server/app/signal_watch.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>

namespace coppice::server {
namespace {

constexpr long kPollNanoseconds = 100'000'000;  // 0.1 s: how late the end of the watch may be noticed
constexpr int kExitInterrupted = 130;           // 128 + SIGINT, as shells report it

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
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

void SignalWatch::expect_orderly_end() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_orderly_ = true;
}

bool SignalWatch::wait_for(std::chrono::milliseconds duration) {
  std::unique_lock<std::mutex> lock(mutex_);
  return asked_.wait_for(lock, duration, [this] { return is_asked_; });
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
    if (signal < 0) {
      continue;
    }
    if (!is_orderly_ || is_asked_) {
      std::fputs("coppice: interrupted\n", stderr);
      _exit(kExitInterrupted);
    }
    is_asked_ = true;
    asked_.notify_all();
  }
}

}  // namespace coppice::server
