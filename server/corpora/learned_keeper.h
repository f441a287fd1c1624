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
#include "server/access/api_keys.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// What must be the same for learned things to mean the same.
struct LearnedFingerprints {
  std::uint64_t vocabulary = 0;  // what token ids stand for
  std::string machine;           // model, element type, device: what a step costs; one line
};

// A hash of what every token id stands for.
std::uint64_t vocabulary_fingerprint(const text::Tokenizer& tokenizer);

// Whose outputs are kept. A file holds no others, and of a file no others are taken: state of a key that is no longer
// known, or named in the way of an older version, is dropped.
struct LearnedTenants {
  const ApiKeys* keys = nullptr;
  bool is_shared = false;  // --speculation-shared: one tree for all, which only a server with that setting may read
};

// Owner: the app. Thread: made and destroyed by one, saves on its own. The engine and the keys outlive it.
class LearnedKeeper {
 public:
  LearnedKeeper(engine::Engine& engine, std::filesystem::path folder, LearnedFingerprints fingerprints,
                const LearnedTenants& tenants);
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
  // Returns how many tenants were dropped.
  std::size_t drop_strangers(engine::SpeculationSnapshot& outputs) const;

  engine::Engine& engine_;
  const std::filesystem::path folder_;
  const LearnedFingerprints fingerprints_;
  const LearnedTenants tenants_;
  std::mutex mutex_;  // of stopping_
  std::condition_variable wake_;
  bool stopping_ = false;
  std::mutex files_;  // one saving at a time
  std::thread thread_;
};

}  // namespace coppice::server
