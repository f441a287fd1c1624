// LearnedKeeper: two files, each replaced as a whole.
#include "server/corpora/learned_keeper.h"

#include <xxhash.h>

#include <array>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/speculation/snapshot_file.h"
#include "spdlog/spdlog.h"

namespace coppice::server {
namespace {

constexpr std::chrono::seconds kSavePatience{60};  // the engine answers between two steps
constexpr const char* kOutputsFile = "outputs.snapshot";
constexpr const char* kCostsFile = "step-costs.txt";

constexpr std::size_t kCostsBytesMax = std::size_t{1} << 20;  // a few hundred lines of numbers
// The name in the file of the one tree that all tenants share. No tenant's: those are "", "|…" or "key-…".
constexpr const char* kSharedTree = "shared";

// The costs behind their fingerprint's line; "" when there are none of this machine.
absl::StatusOr<std::string> read_costs(const std::filesystem::path& path, const std::string& machine) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(path, kCostsBytesMax));
  return text.starts_with(machine + "\n") ? text.substr(machine.size() + 1) : std::string();
}

absl::Status write_costs(const std::filesystem::path& path, const std::string& machine, const std::string& costs) {
  const std::array<std::string_view, 3> parts = {machine, "\n", costs};
  return base::replace_file(path, parts, base::FileReaders::kEveryone);
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

LearnedKeeper::LearnedKeeper(engine::Engine& engine, std::filesystem::path folder, LearnedFingerprints fingerprints,
                             const LearnedTenants& tenants)
    : engine_(engine), folder_(std::move(folder)), fingerprints_(std::move(fingerprints)), tenants_(tenants) {}

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
  absl::StatusOr<std::string> costs = read_costs(folder_ / kCostsFile, fingerprints_.machine);
  if (costs.ok()) {
    learned.step_costs = *std::move(costs);
  } else if (!absl::IsNotFound(costs.status())) {
    spdlog::warn("step costs are measured anew: {}", std::string(costs.status().message()));
  }
  const std::filesystem::path path = folder_ / kOutputsFile;
  absl::StatusOr<engine::SpeculationSnapshot> outputs = engine::read_snapshot(fingerprints_.vocabulary, path.string());
  if (outputs.ok()) {
    learned.outputs = *std::move(outputs);
    if (const std::size_t dropped = drop_strangers(learned.outputs); dropped > 0) {
      spdlog::warn("{}: what was kept for {} tenants of other keys or another setting is dropped", path.string(),
                   dropped);
    }
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
  engine::Learned learned = captured.get();
  if (tenants_.is_shared) {
    for (engine::TenantText& tree : learned.outputs.tenants) {
      tree.tenant = kSharedTree;
    }
  }
  drop_strangers(learned.outputs);  // of keys that are gone since
  const std::lock_guard<std::mutex> lock(files_);
  COPPICE_RETURN_IF_ERROR(
      engine::write_snapshot(learned.outputs, fingerprints_.vocabulary, (folder_ / kOutputsFile).string()));
  return write_costs(folder_ / kCostsFile, fingerprints_.machine, learned.step_costs);
}

std::size_t LearnedKeeper::drop_strangers(engine::SpeculationSnapshot& outputs) const {
  return std::erase_if(outputs.tenants, [this](const engine::TenantText& tree) {
    return tenants_.is_shared ? tree.tenant != kSharedTree : !tenants_.keys->is_known(tree.tenant);
  });
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
