// What is kept between runs: written on save, read on restore, refused with a line when it is another machine's,
// another vocabulary's or torn.
#include "server/corpora/learned_keeper.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/support/scripted_engine.h"

namespace coppice::server {
namespace {

using std::chrono::milliseconds;

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / ("coppice_learned_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  const std::filesystem::path path;
};

engine::Learned something() {
  engine::Learned learned;
  learned.outputs.tenants.push_back({"t", {std::make_shared<const std::vector<TokenId>>(std::vector<TokenId>{1, 2})}});
  learned.step_costs = "step-cost 1\nrows 1 2 3\n";
  return learned;
}

TEST_CASE("what one run learned the next one knows") {
  const Folder folder;
  engine::ScriptedEngine before;
  before.to_capture = something();
  LearnedKeeper keeper(before, folder.path / "deep" / "er", {7, "machine a"});
  REQUIRE(keeper.restore().ok());
  CHECK(before.restored.outputs.tenants.empty());
  REQUIRE(keeper.save(milliseconds(1000)).ok());
  engine::ScriptedEngine after;
  LearnedKeeper next(after, folder.path / "deep" / "er", {7, "machine a"});
  REQUIRE(next.restore().ok());
  REQUIRE(after.restored.outputs.tenants.size() == 1);
  CHECK(*after.restored.outputs.tenants[0].sequences[0] == std::vector<TokenId>{1, 2});
  CHECK(after.restored.step_costs == something().step_costs);
}

TEST_CASE("another machine's costs, another vocabulary's outputs and torn files are left out") {
  const Folder folder;
  engine::ScriptedEngine engine;
  engine.to_capture = something();
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "a"}).restore().ok());
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "a"}).save(milliseconds(1000)).ok());
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "b"}).restore().ok());
  CHECK(engine.restored.step_costs.empty());
  CHECK(engine.restored.outputs.tenants.size() == 1);
  REQUIRE(LearnedKeeper(engine, folder.path, {8, "a"}).restore().ok());
  CHECK_FALSE(engine.restored.step_costs.empty());
  CHECK(engine.restored.outputs.tenants.empty());
  std::ofstream(folder.path / "outputs.snapshot", std::ios::trunc) << "COPPSPEC";
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "a"}).restore().ok());
  CHECK(engine.restored.outputs.tenants.empty());
}

TEST_CASE("it saves by itself, and a folder that cannot be made is an error") {
  const Folder folder;
  engine::ScriptedEngine engine;
  engine.to_capture = something();
  {
    LearnedKeeper keeper(engine, folder.path, {7, "a"});
    REQUIRE(keeper.restore().ok());
    keeper.start(milliseconds(5));
    for (int i = 0; i < 2000 && !std::filesystem::exists(folder.path / "step-costs.txt"); ++i) {
      usleep(5000);
    }
  }
  CHECK(std::filesystem::exists(folder.path / "outputs.snapshot"));
  std::ofstream(folder.path / "file") << "x";
  CHECK(LearnedKeeper(engine, folder.path / "file" / "folder", {7, "a"}).restore().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace coppice::server
