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

const ApiKeys kNoKeys;
const LearnedTenants kKeyless{&kNoKeys, false};

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / ("coppice_learned_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  const std::filesystem::path path;
};

engine::Learned something() {
  engine::Learned learned;
  learned.outputs.tenants.push_back({"|t", {std::make_shared<const std::vector<TokenId>>(std::vector<TokenId>{1, 2})}});
  learned.step_costs = "step-cost 1\nrows 1 2 3\n";
  return learned;
}

TEST_CASE("what one run learned the next one knows") {
  const Folder folder;
  engine::ScriptedEngine before;
  before.to_capture = something();
  LearnedKeeper keeper(before, folder.path / "deep" / "er", {7, "machine a"}, kKeyless);
  REQUIRE(keeper.restore().ok());
  CHECK(before.restored.outputs.tenants.empty());
  REQUIRE(keeper.save(milliseconds(1000)).ok());
  engine::ScriptedEngine after;
  LearnedKeeper next(after, folder.path / "deep" / "er", {7, "machine a"}, kKeyless);
  REQUIRE(next.restore().ok());
  REQUIRE(after.restored.outputs.tenants.size() == 1);
  CHECK(*after.restored.outputs.tenants[0].sequences[0] == std::vector<TokenId>{1, 2});
  CHECK(after.restored.step_costs == something().step_costs);
}

TEST_CASE("another machine's costs, another vocabulary's outputs and torn files are left out") {
  const Folder folder;
  engine::ScriptedEngine engine;
  engine.to_capture = something();
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "a"}, kKeyless).restore().ok());
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "a"}, kKeyless).save(milliseconds(1000)).ok());
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "b"}, kKeyless).restore().ok());
  CHECK(engine.restored.step_costs.empty());
  CHECK(engine.restored.outputs.tenants.size() == 1);
  REQUIRE(LearnedKeeper(engine, folder.path, {8, "a"}, kKeyless).restore().ok());
  CHECK_FALSE(engine.restored.step_costs.empty());
  CHECK(engine.restored.outputs.tenants.empty());
  std::ofstream(folder.path / "outputs.snapshot", std::ios::trunc) << "COPPSPEC";
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "a"}, kKeyless).restore().ok());
  CHECK(engine.restored.outputs.tenants.empty());
}

engine::TenantText texts_of(std::string tenant) {
  return {std::move(tenant), {std::make_shared<const std::vector<TokenId>>(std::vector<TokenId>{3})}};
}

std::vector<std::string> names_of(const engine::SpeculationSnapshot& outputs) {
  std::vector<std::string> names;
  for (const engine::TenantText& tree : outputs.tenants) {
    names.push_back(tree.tenant);
  }
  return names;
}

TEST_CASE("what belongs to keys that are gone, or was named by their place, is dropped") {
  const Folder folder;
  const std::string a = tenant_of_key("the-key-of-a");
  const std::string b = tenant_of_key("the-key-of-b");
  ApiKeys both = std::move(ApiKeys::parse("the-key-of-a\nthe-key-of-b\n", "keys").value());
  engine::ScriptedEngine engine;
  for (const std::string& tenant : {std::string(), std::string("key0"), std::string("|s"), a, a + "|s", b}) {
    engine.to_capture.outputs.tenants.push_back(texts_of(tenant));
  }
  REQUIRE(LearnedKeeper(engine, folder.path, {7, "m"}, {&both, false}).restore().ok());  // makes the folder
  REQUIRE(engine::write_snapshot(engine.to_capture.outputs, 7, (folder.path / "outputs.snapshot").string()).ok());
  LearnedKeeper keeper(engine, folder.path, {7, "m"}, {&both, false});
  REQUIRE(keeper.restore().ok());
  CHECK(names_of(engine.restored.outputs) == std::vector<std::string>{a, a + "|s", b});
  // A key that goes while the server runs: what is written has nothing of it.
  both.replace(std::move(ApiKeys::parse("the-key-of-b\n", "keys").value()));
  REQUIRE(keeper.save(milliseconds(1000)).ok());
  both.replace(std::move(ApiKeys::parse("the-key-of-b\nthe-key-of-a\n", "keys").value()));
  REQUIRE(keeper.restore().ok());
  CHECK(names_of(engine.restored.outputs) == std::vector<std::string>{b});
}

TEST_CASE("a tree that all tenants share is read by no server that keeps them apart, nor the other way round") {
  const Folder folder;
  engine::ScriptedEngine engine;
  engine.to_capture.outputs.tenants.push_back(texts_of(""));
  LearnedKeeper shared(engine, folder.path, {7, "m"}, {&kNoKeys, true});
  REQUIRE(shared.restore().ok());
  REQUIRE(shared.save(milliseconds(1000)).ok());
  REQUIRE(shared.restore().ok());
  CHECK(engine.restored.outputs.tenants.size() == 1);
  LearnedKeeper apart(engine, folder.path, {7, "m"}, kKeyless);
  REQUIRE(apart.restore().ok());
  CHECK(engine.restored.outputs.tenants.empty());
  REQUIRE(apart.save(milliseconds(1000)).ok());
  REQUIRE(shared.restore().ok());
  CHECK(engine.restored.outputs.tenants.empty());
}

TEST_CASE("it saves by itself, and a folder that cannot be made is an error") {
  const Folder folder;
  engine::ScriptedEngine engine;
  engine.to_capture = something();
  {
    LearnedKeeper keeper(engine, folder.path, {7, "a"}, kKeyless);
    REQUIRE(keeper.restore().ok());
    keeper.start(milliseconds(5));
    for (int i = 0; i < 2000 && !std::filesystem::exists(folder.path / "step-costs.txt"); ++i) {
      usleep(5000);
    }
  }
  CHECK(std::filesystem::exists(folder.path / "outputs.snapshot"));
  std::ofstream(folder.path / "file") << "x";
  CHECK(LearnedKeeper(engine, folder.path / "file" / "folder", {7, "a"}, kKeyless).restore().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace coppice::server
