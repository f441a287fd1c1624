// Batches from creation to their answers' files: each line once, whatever stops the server and whenever.
#include "server/batch/batch_runner.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/full_disk.h"
#include "tests/unit/server/batch/batch_world.h"

namespace coppice::server {

namespace fs = std::filesystem;

TEST_CASE("a batch runs to its output, and says so on the way", "[batch]") {
  const Place place;
  World world(place.path);
  const BatchCard made =
      world.create(lines(50) + line(50, R"(,"temperature":-1)") + line(51, R"(,"stream":true)")).value();
  CHECK(made.status == BatchStatus::kValidating);
  CHECK(made.expires_s == 1000 + 24 * 3600);
  world.run();
  const BatchCard done = world.wait(made.id);
  CHECK(done.status == BatchStatus::kCompleted);
  CHECK(done.counts.total == 52);
  CHECK(done.counts.completed == 50);
  CHECK(done.counts.failed == 2);
  CHECK(done.usage.prompt_tokens > 100);
  CHECK(done.usage.completion_tokens > 100);
  CHECK(done.model == "m");
  REQUIRE(done.has_output);
  REQUIRE(done.has_errors);
  std::map<std::string, openai::Json> answers;
  for (const openai::Json& each : world.lines(done.output_file_id)) {
    answers[each["custom_id"]] = each;
  }
  REQUIRE(answers.size() == 50);
  CHECK(answers["c7"]["id"] == "batch_req_8");
  CHECK(answers["c7"]["error"].is_null());
  CHECK(answers["c7"]["response"]["status_code"] == 200);
  CHECK(answers["c7"]["response"]["request_id"] == done.id + "_8");
  CHECK(answers["c7"]["response"]["body"]["object"] == "text_completion");
  const auto errors = world.lines(done.error_file_id);
  REQUIRE(errors.size() == 2);
  for (const openai::Json& each : errors) {
    CHECK(each["response"]["status_code"] == 400);
  }
  const openai::FileCard output = world.files->find("", done.output_file_id).value();
  CHECK(output.purpose == "batch_output");
  CHECK(output.filename == done.id + "_output.jsonl");
  CHECK_FALSE(world.files->remove("", done.request.input_file_id).has_value());  // no longer held
}

TEST_CASE("a file with a line that is no request fails the batch, with the lines at fault", "[batch]") {
  const Place place;
  World world(place.path);
  const std::string id = world.create(line(0) + "nonsense\n" + line(0) + line(1)).value().id;
  const std::string empty = world.create("\n\n").value().id;
  world.run();
  const BatchCard failed = world.wait(id);
  CHECK(failed.status == BatchStatus::kFailed);
  REQUIRE(failed.errors.size() == 2);
  CHECK(failed.errors[0].line == 2);
  CHECK(failed.errors[1].line == 3);
  CHECK_THAT(failed.errors[1].message, Catch::Contains("already used by line 1"));
  CHECK_FALSE(failed.has_output);
  CHECK(world.wait(empty).errors.at(0).code == "empty_file");
  CHECK(world.engine.prompts.empty());
}

TEST_CASE("stopped anywhere and started again, each line has one answer", "[batch]") {
  const Place place;
  std::string id;
  std::map<std::vector<TokenId>, int> submitted;
  constexpr int kLines = 60;
  for (int round = 0; round < 12; ++round) {
    World world(place.path);
    world.engine.answers_left = round < 10 ? 5 : 1 << 20;
    if (round == 0) {
      id = world.create(lines(kLines)).value().id;
    }
    const BatchCard before = world.card(id);
    world.run();
    const BatchCard after = world.wait(id, round < 10 ? 5 * (round + 1) : 1 << 20);
    world.stop();
    if (round < 10) {
      CHECK(after.status == BatchStatus::kInProgress);
      CHECK(before.created_s == after.created_s);
      // As if the process had been killed in the middle of a write.
      std::ofstream(place.path / "default" / FileStore::data_name(after.output_file_id), std::ios::app)
          << R"({"id":"batch_req_1)";
    } else {
      CHECK(after.status == BatchStatus::kCompleted);
    }
    for (const auto& [prompt, count] : world.engine.prompts) {
      submitted[prompt] += count;
    }
  }
  World world(place.path);
  const BatchCard done = world.card(id);
  CHECK(done.counts.completed == kLines);
  CHECK(done.counts.failed == 0);
  std::map<std::string, int> seen;
  for (const openai::Json& each : world.lines(done.output_file_id)) {
    ++seen[each["custom_id"]];
  }
  CHECK(seen.size() == kLines);
  CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& entry) { return entry.second == 1; }));
  CHECK(submitted.size() == kLines);
  CHECK(done.request.metadata == std::vector<std::pair<std::string, std::string>>{{"k", "v"}});
}

TEST_CASE("a process killed while a batch ends finishes that", "[batch]") {
  const Place place;
  std::string id;
  {
    World world(place.path);
    id = world.create(lines(5)).value().id;
    world.run();
    CHECK(world.wait(id).status == BatchStatus::kCompleted);
    world.stop();
    // As if the last change had not come to the disk: answers are there, one file's card too.
    world.store->change({"", id}, [](BatchCard& card) {
      card.status = BatchStatus::kFinalizing;
      card.has_output = false;
    });
    REQUIRE(world.files->hold("", world.card(id).request.input_file_id) == std::nullopt);
    REQUIRE(world.store->save({"", id}).ok());
  }
  World world(place.path);
  world.run();
  const BatchCard done = world.wait(id);
  CHECK(done.status == BatchStatus::kCompleted);
  CHECK(done.has_output);
  CHECK(world.lines(done.output_file_id).size() == 5);
  CHECK(world.engine.prompts.empty());
}

TEST_CASE("a cancelled batch keeps what it has", "[batch]") {
  const Place place;
  World world(place.path);
  world.engine.answers_left = 3;
  const std::string id = world.create(lines(40)).value().id;
  world.run();
  CHECK(world.wait(id, 3).status == BatchStatus::kInProgress);
  CHECK(world.store->cancel({"", id}).value().status == BatchStatus::kCancelling);
  CHECK(world.store->cancel({"", "batch_" + std::string(24, '0')}).error().status == 404);
  const BatchCard done = world.wait(id);
  CHECK(done.status == BatchStatus::kCancelled);
  CHECK(done.counts.completed == 3);
  CHECK(world.lines(done.output_file_id).size() == 3);
  CHECK_FALSE(done.has_errors);
  CHECK(world.store->cancel({"", id}).error().status == 400);
}

TEST_CASE("when its time is over, a batch says of each line that it was not run", "[batch]") {
  const Place place;
  World world(place.path);
  world.engine.answers_left = 3;
  const std::string id = world.create(lines(20), "60s").value().id;
  world.run();
  world.wait(id, 3);
  world.now += 60;
  const BatchCard done = world.wait(id);
  CHECK(done.status == BatchStatus::kExpired);
  CHECK(done.counts.completed == 3);
  CHECK(done.counts.failed == 17);
  const auto errors = world.lines(done.error_file_id);
  REQUIRE(errors.size() == 17);
  CHECK(errors[0]["error"]["code"] == "batch_expired");
  CHECK(errors[0]["response"].is_null());
  CHECK(world.engine.cancels > 0);
}

TEST_CASE("lines wait while the engine has no room, and failures of the engine are answers", "[batch]") {
  const Place place;
  World world(place.path);
  world.engine.refuses = true;
  const std::string id = world.create(lines(5)).value().id;
  world.run();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(world.card(id).counts.completed + world.card(id).counts.failed == 0);
  {
    const std::lock_guard<std::mutex> lock(world.engine.mutex);
    world.engine.refuses = false;
    world.engine.fails = true;
  }
  const BatchCard done = world.wait(id);
  CHECK(done.counts.failed == 5);
  CHECK(world.lines(done.error_file_id).at(0)["response"]["status_code"] == 500);
}

TEST_CASE("a tenant whose memory is full holds up no other", "[batch]") {
  const Place place;
  World world(place.path);
  world.state.keys = ApiKeys::parse("key-of-the-full\nkey-of-the-other\n", "keys").value();
  const std::string full = tenant_of_key("key-of-the-full");
  const std::string other = tenant_of_key("key-of-the-other");
  world.engine.answers_left = 0;
  MemoryBudget::Lease half(world.state.memory);
  MemoryBudget::Lease rest(world.state.memory);
  for (MemoryBudget::Lease* lease : {&half, &rest}) {
    lease->set_tenant(full + "|batch");
    REQUIRE(!lease->set(MemoryPart::kWork, MemoryLimits{}.tenant_bytes / 2));
  }
  // Beyond what is free for every request.
  const std::string large = R"(,"user":")" + std::string(2 * MemoryBudget::kFreeBytes, 'u') + '"';
  std::string text;
  for (int i = 0; i < 3; ++i) {
    text += line(i, large);
  }
  REQUIRE(world.create(text, "24h", full).ok());
  REQUIRE(world.create(lines(6), "24h", other).ok());
  world.run();
  const auto submitted = [&world] {
    const std::lock_guard<std::mutex> lock(world.engine.mutex);
    return world.engine.prompts.size();
  };
  for (int i = 0; i < 10'000 && submitted() < 6; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(submitted() == 6);
}

TEST_CASE("what cannot be a batch is refused when it is created", "[batch]") {
  const Place place;
  World world(place.path);
  const auto create = [&](const std::string& body) {
    auto request = openai::parse_batch_request(body, {});
    return request.ok() ? world.store->create("", std::move(request.value()), "m")
                        : openai::Result<BatchCard>(request.error());
  };
  const std::string vision = world.files->add("", {"a", "vision", 0}, "x").value().id;
  const std::string none = "file-" + std::string(24, '0');
  const auto body = [](const std::string& file, const std::string& endpoint, const std::string& window) {
    return R"({"input_file_id":")" + file + R"(","endpoint":")" + endpoint + R"(","completion_window":")" + window +
           "\"}";
  };
  CHECK(create(body(none, "/v1/completions", "24h")).error().status == 404);
  CHECK(create(body("../../etc/passwd", "/v1/completions", "24h")).error().status == 404);
  CHECK(create(body(vision, "/v1/completions", "24h")).error().param == "input_file_id");
  CHECK(create(body(vision, "/v1/embeddings", "24h")).error().param == "endpoint");
  CHECK(create(body(vision, "/v1/completions", "soon")).error().param == "completion_window");
  CHECK(create(body(vision, "/v1/completions", "31d")).error().param == "completion_window");
  CHECK(create(R"({"endpoint":"/v1/completions","completion_window":"24h"})").error().param == "input_file_id");
  CHECK(create("[]").error().status == 400);
  CHECK(create(R"({"input_file_id":"a","endpoint":"b","completion_window":"24h","output_expires_after":{"seconds":3}})")
            .error()
            .param == "output_expires_after");
}

TEST_CASE("a tenant may have many batches waiting, not without bound, and sees only its own", "[batch]") {
  const Place place;
  World world(place.path);
  std::vector<std::string> ids;
  for (int i = 0; i < 64; ++i) {
    ids.push_back(world.create(line(0)).value().id);
    ++world.now;
  }
  CHECK(world.create(line(0)).error().status == 429);
  const std::string other = "key-0123456789abcdef";
  CHECK(world.create(line(0), "24h", other).ok());
  CHECK(world.store->find({other, ids[0]}).error().status == 404);
  CHECK(world.store->cancel({other, ids[0]}).error().status == 404);
  CHECK_FALSE(world.store->list(other, {ids[0], 10, false}).ok());
  CHECK(world.store->list(other, {"", 10, false}).value().size() == 1);
  const auto first = world.store->list("", {"", 2, false}).value();
  REQUIRE(first.size() == 3);
  CHECK(first[0].id == ids[63]);
  CHECK(world.store->list("", {ids[62], 2, false}).value()[0].id == ids[61]);
  world.run();
  CHECK(world.wait(ids[63]).status == BatchStatus::kCompleted);
  const std::string others = world.store->list(other, {"", 1, false}).value()[0].id;
  CHECK(world.card(others, other).status == BatchStatus::kValidating);  // there is no such key
}

TEST_CASE("answers beyond the quota are not made", "[batch]") {
  const Place place;
  const std::string text = lines(30);
  World world(place.path, {.tenant_bytes = text.size() + 2000, .tenant_files = 10, .files = 10});
  const std::string id = world.create(text).value().id;
  world.run();
  const BatchCard done = world.wait(id);
  CHECK(done.status == BatchStatus::kCompleted);
  CHECK(done.counts.completed > 0);
  CHECK(done.counts.failed > 0);
  CHECK(world.lines(done.error_file_id).back()["error"]["code"] == "storage_quota_exceeded");
  CHECK(world.files->add("", {"more", "batch", 0}, "x").error().code == "storage_quota_exceeded");
  auto again = openai::parse_batch_request(R"({"input_file_id":")" + done.request.input_file_id +
                                               R"(","endpoint":"/v1/completions","completion_window":"24h"})",
                                           {});
  CHECK(world.store->create("", std::move(again.value()), "m").error().code == "storage_quota_exceeded");
}

TEST_CASE("a batch that the disk has no room for never was", "[batch]") {
  const Place place;
  World world(place.path);
  world.run();
  const std::string input = world.files->add("", {"in.jsonl", "batch", 0}, lines(2)).value().id;
  const std::string body =
      R"({"input_file_id":")" + input + R"(","endpoint":"/v1/completions","completion_window":"24h"})";
  std::atomic<bool> is_over{false};
  std::thread looker([&] {  // as the runner does, all the time
    while (!is_over) {
      for (const BatchKey& key : world.store->unfinished()) {
        (void)world.store->state_of(key);  // a bug if the batch is gone
      }
    }
  });
  {
    const FullDisk disk(0);
    for (int i = 0; i < 200; ++i) {
      CHECK(world.store->create("", openai::parse_batch_request(body, {}).value(), "m").error().status == 500);
    }
  }
  is_over = true;
  looker.join();
  CHECK(world.store->list("", {"", 10, false}).value().empty());
  CHECK_FALSE(world.files->remove("", input).has_value());  // nothing holds it
}

TEST_CASE("the files that batches will make count before they are there", "[batch]") {
  const Place place;
  World world(place.path, {.tenant_files = 4, .files = 100});
  CHECK(world.create(line(0)).ok());  // its input, and two to come
  const auto second = world.create(line(0));
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == "storage_quota_exceeded");
}

TEST_CASE("records and answers that a stranger changed", "[batch]") {
  const Place place;
  std::string id;
  std::string torn;
  BatchCard card;
  {
    World world(place.path);
    world.engine.answers_left = 3;
    id = world.create(lines(10)).value().id;
    ++world.now;
    torn = world.create(lines(10)).value().id;
    world.run();
    card = world.wait(id, 3);
  }
  const fs::path folder = place.path / "default";
  std::ofstream(folder / FileStore::data_name(card.output_file_id), std::ios::app) << "my notes\n";
  std::ofstream(folder / (torn + ".json")) << R"({"id":")" << torn << R"(","status":"in_progress"})";
  fs::create_symlink("/etc/passwd", folder / ("batch_" + std::string(24, '1') + ".json"));
  World world(place.path);
  world.run();
  CHECK(world.wait(id).status == BatchStatus::kFailed);
  CHECK(world.store->find({"", torn}).error().status == 404);
  CHECK(world.store->list("", {"", 10, false}).value().size() == 1);
}

}  // namespace coppice::server
