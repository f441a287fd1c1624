// LearnedKeeper: keeps what the engine has learned in a folder (--speculation-state), so that a restarted server drafts
// as well as the one before: saved every few minutes and when the server drains, read back at start.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// What must be the same for learned things to mean the same.
struct LearnedFingerprints {
  std::uint64_t vocabulary = 0;  // what token ids stand for
  std::string machine;           // model, element type, device: what a step costs; one line
};

// A hash of what every token id stands for.
std::uint64_t vocabulary_fingerprint(const text::Tokenizer& tokenizer);

// Owner: the app. Thread: made and destroyed by one, saves on its own. The engine outlives it.
class LearnedKeeper {
 public:
  LearnedKeeper(engine::Engine& engine, std::filesystem::path folder, LearnedFingerprints fingerprints);
  // Stops saving; see save().
  ~LearnedKeeper();
  LearnedKeeper(const LearnedKeeper&) = delete;
  LearnedKeeper& operator=(const LearnedKeeper&) = delete;

  // Before the engine's thread starts. What cannot be read is logged in a line and left out. ERRORS: the folder cannot
  // be made or written.
  absl::Status restore();
  // From now on, every `period`.
  void start(std::chrono::milliseconds period);
  // Now; waits at most `patience` for the engine. Any thread. ERRORS: DeadlineExceeded, or those of files.
  absl::Status save(std::chrono::milliseconds patience);

 private:
  void run(std::chrono::milliseconds period);

  engine::Engine& engine_;
  const std::filesystem::path folder_;
  const LearnedFingerprints fingerprints_;
  std::mutex mutex_;  // of stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  std::mutex files_;  // one saving at a time
  std::thread thread_;
};

}  // namespace coppice::server
