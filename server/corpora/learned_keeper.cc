// LearnedKeeper: two files, each replaced as a whole.
#include "server/corpora/learned_keeper.h"

#include <xxhash.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "base/status_macros.h"
#include "engine/speculation/snapshot_file.h"
#include "spdlog/spdlog.h"

namespace coppice::server {
namespace {

constexpr std::chrono::seconds kSavePatience{60};  // the engine answers between two steps
constexpr const char* kOutputsFile = "outputs.snapshot";
constexpr const char* kCostsFile = "step-costs.txt";

// The costs behind their fingerprint's line; "" when there are none of this machine.
std::string read_costs(const std::filesystem::path& path, const std::string& machine) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line) || line != machine) {
    return {};
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

absl::Status write_costs(const std::filesystem::path& path, const std::string& machine, const std::string& costs) {
  const std::filesystem::path fresh = path.string() + ".new";
  std::ofstream file(fresh, std::ios::trunc);
  file << machine << "\n" << costs;
  file.close();
  std::error_code error;
  std::filesystem::rename(fresh, path, error);
  return file && !error ? absl::OkStatus() : absl::InternalError(path.string() + ": cannot be written");
}

}  // namespace

std::uint64_t vocabulary_fingerprint(const text::Tokenizer& tokenizer) {
  auto hash = static_cast<std::uint64_t>(tokenizer.vocab_size());
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string bytes = tokenizer.token_bytes(id);
    hash = XXH3_64bits_withSeed(bytes.data(), bytes.size(), hash);
  }
  return hash;
}

LearnedKeeper::LearnedKeeper(engine::Engine& engine, std::filesystem::path folder, LearnedFingerprints fingerprints)
    : engine_(engine), folder_(std::move(folder)), fingerprints_(std::move(fingerprints)) {}

LearnedKeeper::~LearnedKeeper() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

absl::Status LearnedKeeper::restore() {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) {
    return absl::InvalidArgumentError("--speculation-state " + folder_.string() + ": " + error.message());
  }
  engine::Learned learned;
  learned.step_costs = read_costs(folder_ / kCostsFile, fingerprints_.machine);
  const std::filesystem::path path = folder_ / kOutputsFile;
  absl::StatusOr<engine::SpeculationSnapshot> outputs = engine::read_snapshot(fingerprints_.vocabulary, path.string());
  if (outputs.ok()) {
    learned.outputs = *std::move(outputs);
  } else if (!absl::IsNotFound(outputs.status())) {
    spdlog::warn("speculation starts empty: {}", std::string(outputs.status().message()));
  }
  if (const absl::Status status = engine_.restore(std::move(learned)); !status.ok()) {
    spdlog::warn("speculation starts without a part of what was learned: {}", std::string(status.message()));
  }
  return absl::OkStatus();
}

absl::Status LearnedKeeper::save(std::chrono::milliseconds patience) {
  std::future<engine::Learned> captured = engine_.capture();
  if (captured.wait_for(patience) != std::future_status::ready) {
    return absl::DeadlineExceededError("the engine did not hand over what it has learned in time");
  }
  const engine::Learned learned = captured.get();
  const std::lock_guard<std::mutex> lock(files_);
  COPPICE_RETURN_IF_ERROR(
      engine::write_snapshot(learned.outputs, fingerprints_.vocabulary, (folder_ / kOutputsFile).string()));
  return write_costs(folder_ / kCostsFile, fingerprints_.machine, learned.step_costs);
}

void LearnedKeeper::start(std::chrono::milliseconds period) {
  thread_ = std::thread([this, period] { run(period); });
}

void LearnedKeeper::run(std::chrono::milliseconds period) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!wake_.wait_for(lock, period, [this] { return stopping_; })) {
    lock.unlock();
    if (const absl::Status status = save(kSavePatience); !status.ok()) {
      spdlog::warn("what speculation has learned was not saved: {}", std::string(status.message()));
    }
    lock.lock();
  }
}

}  // namespace coppice::server
