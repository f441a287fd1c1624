// SignalWatch: SIGTERM and SIGINT as something the main thread can wait for. All threads started after it keep these
// signals blocked; one thread of its own takes them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace coppice::server {

// Owner: run_server; made before any other thread. Thread: the main one.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Until now a signal ends the process at once (nothing is lost while a model loads); from now on the first one asks
  // for an orderly end and the second ends at once.
  void expect_orderly_end();

  // Waits for the request of an orderly end, at most `duration`. Returns whether it has come.
  bool wait_for(std::chrono::milliseconds duration);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable asked_;
  bool is_orderly_ = false;  // guarded by mutex_
  bool is_asked_ = false;    // guarded by mutex_
  bool is_over_ = false;     // guarded by mutex_
  std::thread thread_;
};

}  // namespace coppice::server
