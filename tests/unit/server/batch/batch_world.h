// A server's state for tests of batches, around one folder, with an engine that answers each request with its prompt.
#pragma once

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "server/batch/batch_runner.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {

using openai::BatchCard;
using openai::BatchStatus;

// Answers each request at once with its own prompt, as many as the test allows; the others never.
class EchoEngine final : public engine::Engine {
 public:
  engine::Overload submit_all(std::vector<engine::Request> requests) override {
    const std::lock_guard<std::mutex> lock(mutex);
    for (engine::Request& request : requests) {
      if (!refuses) {
        take(request);
      }
    }
    return {refuses ? engine::OverloadReason::kQueue : engine::OverloadReason::kNone};
  }
  void cancel(engine::RequestId /*request*/, std::int32_t /*choice*/) override { ++cancels; }
  bool learn(engine::Corpus /*corpus*/) override { return true; }
  bool forget(engine::Corpus /*corpus*/) override { return true; }
  std::future<engine::Learned> capture() override { return {}; }
  absl::Status restore(engine::Learned /*learned*/) override { return absl::OkStatus(); }
  engine::EngineStats stats() const override { return {}; }
  engine::EnginePulse pulse() const override { return {}; }
  bool step() override { return false; }
  void wait_for_work() override {}
  void stop_waiting() override {}

  // REQUIRES: the lock.
  void take(const engine::Request& request) {
    wrong += request.background && request.cache.keeps.empty() ? 0 : 1;
    ++prompts[request.prompt];
    if (answers_left == 0) {
      return;
    }
    --answers_left;
    engine::Event event;
    event.request = request.id;
    for (const TokenId token : request.prompt) {
      event.tokens.push_back({token, 0, {}});
    }
    event.finish = fails ? engine::FinishReason::kError : engine::FinishReason::kLength;
    event.error = std::string("the step failed");
    event.usage.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
    std::vector<engine::Event> events;
    events.push_back(std::move(event));
    request.events->append(std::move(events));
  }

  std::mutex mutex;
  std::map<std::vector<TokenId>, int> prompts;
  int answers_left = 1 << 20;
  bool refuses = false;
  bool fails = false;
  std::atomic<int> cancels{0};
  std::atomic<int> wrong{0};  // requests that are not a batch's; CHECK is for the test's own thread
};

// A server's state around one folder; the folder outlives it.
class World {
 public:
  explicit World(const std::filesystem::path& path, const FileLimits& limits = {}) {
    host.name = std::string("m");
    host.tokenizer = std::make_unique<text::TestTokenizer>(std::vector<std::string>{"a", "b", "c", "d"});
    host.engine = &engine;
    host.metrics = &state.metrics;
    host.request_limits.vocab = 6;
    host.request_limits.model_tokens_max = 100;
    host.engine_limits.running_max = 4;
    host.engine_limits.queued_max = 64;
    state.host = &host;
    files = FileStore::open(path.string(), limits, [this] { return now.load(); }).value();
    store = std::make_unique<BatchStore>(*files);
  }
  ~World() {
    runner.reset();
    CHECK(engine.wrong == 0);
  }

  void run() {
    runner = std::make_unique<BatchRunner>(state, *files, *store);
    runner->start();
  }
  void stop() { runner.reset(); }

  openai::Result<BatchCard> create(const std::string& text, const std::string& window = "24h",
                                   const std::string& tenant = "") {
    const auto file = files->add(tenant, {"in.jsonl", "batch", 0}, text);
    REQUIRE(file.ok());
    auto request = openai::parse_batch_request(R"({"input_file_id":")" + file.value().id +
                                                   R"(","endpoint":"/v1/completions","completion_window":")" + window +
                                                   R"(","metadata":{"k":"v"}})",
                                               {});
    REQUIRE(request.ok());
    return store->create(tenant, std::move(request.value()), "m");
  }

  BatchCard card(const std::string& id, const std::string& tenant = "") const {
    return store->find({tenant, id}).value();
  }
  // Waits until the batch has ended, or has as many answers.
  BatchCard wait(const std::string& id, std::int64_t answers = 1 << 20, const std::string& tenant = "") const {
    for (int i = 0; i < 10'000; ++i) {
      const BatchCard found = card(id, tenant);
      if (is_final(found.status) || found.counts.completed + found.counts.failed >= answers) {
        return found;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL("the batch does not get on");
    return {};
  }
  std::vector<openai::Json> lines(const std::string& id, const std::string& tenant = "") const {
    const auto file = files->content(tenant, id);
    REQUIRE(file.ok());
    std::string text(file.value().size(), '\0');
    REQUIRE(file.value().read(0, std::as_writable_bytes(std::span<char>(text))).ok());
    std::vector<openai::Json> found;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      found.push_back(openai::Json::parse(line));
    }
    return found;
  }

  EchoEngine engine;
  ServerState state{"m", ApiKeys()};
  ModelHost host;
  std::atomic<std::int64_t> now{1000};
  std::unique_ptr<FileStore> files;
  std::unique_ptr<BatchStore> store;
  std::unique_ptr<BatchRunner> runner;
};

struct Place {
  Place() : path(std::filesystem::temp_directory_path() / ("coppice_batches_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path);
  }
  ~Place() { std::filesystem::remove_all(path); }
  const std::filesystem::path path;
};

// A line whose prompt is the number in letters a to d.
inline std::string line(int number, const std::string& more = "") {
  std::string prompt;
  for (int rest = number + 4; rest > 0; rest /= 4) {
    prompt += static_cast<char>('a' + rest % 4);
  }
  return R"({"custom_id":"c)" + std::to_string(number) +
         R"(","method":"POST","url":"/v1/completions","body":{"prompt":")" + prompt + R"(","max_tokens":9)" + more +
         "}}\n";
}

inline std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += line(i);
  }
  return text;
}

}  // namespace coppice::server
