// SignalWatch: SIGTERM, SIGINT and SIGHUP as something the main thread can wait for. All threads started after it keep
// these signals blocked; one thread of its own takes them, and ends the process itself where an orderly end does not
// come in time, whatever the other threads are stuck in.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace coppice::server {

enum class SignalAsk : std::uint8_t { kNothing, kReload, kEnd };

// Owner: run_server; made before any other thread. Thread: the main one.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Until now SIGTERM and SIGINT end the process at once (nothing is lost while a model loads); from now on the first
  // one asks for an orderly end, which may take `time_to_end`, and the second ends at once.
  void expect_orderly_end(std::chrono::milliseconds time_to_end);

  // Waits for a signal, at most `duration`. kReload: SIGHUP has come, once or more, since the last call.
  SignalAsk wait_for(std::chrono::milliseconds duration);

 private:
  void run();
  void take(int signal);

  std::mutex mutex_;
  std::condition_variable asked_;
  bool is_orderly_ = false;                         // guarded by mutex_
  bool is_asked_ = false;                           // to end; guarded by mutex_
  bool is_reload_asked_ = false;                    // guarded by mutex_
  bool is_over_ = false;                            // guarded by mutex_
  std::chrono::milliseconds time_to_end_{0};        // guarded by mutex_
  std::chrono::steady_clock::time_point deadline_;  // of the end, once is_asked_; guarded by mutex_
  std::thread thread_;
};

}  // namespace coppice::server
