// The layout of the cache, by paths and links.
#include "server/hub/hub_cache.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <unistd.h>
#include "fmt/format.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'c');
const std::string kHash(64, 'a');

// A folder of its own, removed at the end.
struct World {
  fs::path root = fs::temp_directory_path() / fmt::format("coppice_hub_cache_{}", ::getpid());
  HubName name = *parse_hub_name("owner/name");
  HubCache cache{root, name};

  World() { fs::remove_all(root); }
  ~World() { fs::remove_all(root); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  static std::string read(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_CASE("blobs become files of a commit, and the revision the commit") {
  const World world;
  REQUIRE(world.cache.prepare().ok());
  World::write(world.cache.blob(kHash), "weights");
  REQUIRE(world.cache.publish("main", kCommit, {{"sub/model.gguf", kHash}, {"config.json", kHash}}).ok());
  const fs::path folder = world.root / "models--owner--name";
  CHECK(World::read(folder / "refs" / "main") == kCommit);
  CHECK(World::read(folder / "snapshots" / kCommit / "config.json") == "weights");
  CHECK(fs::read_symlink(folder / "snapshots" / kCommit / "config.json") == "../../blobs/" + kHash);
  CHECK(fs::read_symlink(folder / "snapshots" / kCommit / "sub" / "model.gguf") == "../../../blobs/" + kHash);
  CHECK(world.cache.lock(kHash) == world.root / ".locks" / "models--owner--name" / (kHash + ".lock"));
  CHECK(world.cache.commit("main") == kCommit);
  CHECK(world.cache.commit(kCommit) == kCommit);
  CHECK(world.cache.files(kCommit).size() == 2);
  // Once more is no error, and leaves nothing beside.
  REQUIRE(world.cache.publish("main", kCommit, {{"config.json", kHash}}).ok());
  CHECK(std::distance(fs::directory_iterator(folder / "refs"), {}) == 1);
  CHECK(std::distance(fs::directory_iterator(folder / "snapshots" / kCommit), {}) == 2);
}

TEST_CASE("a file that a commit lacks is noted as the Hub's own client does") {
  const World world;
  CHECK_FALSE(world.cache.is_absent(kCommit, "model.safetensors"));
  REQUIRE(world.cache.note_absent(kCommit, "model.safetensors").ok());
  REQUIRE(world.cache.note_absent(kCommit, "model.safetensors").ok());
  CHECK(world.cache.is_absent(kCommit, "model.safetensors"));
  CHECK_FALSE(world.cache.is_absent(kCommit, "config.json"));
  CHECK(fs::is_empty(world.root / "models--owner--name" / ".no_exist" / kCommit / "model.safetensors"));
}

TEST_CASE("what is not whole is not there") {
  const World world;
  CHECK_FALSE(world.cache.commit("main").has_value());
  CHECK(world.cache.files(kCommit).empty());
  const fs::path folder = world.root / "models--owner--name";
  fs::create_directories(folder / "snapshots" / kCommit);
  fs::create_symlink("../../blobs/" + kHash, folder / "snapshots" / kCommit / "config.json");
  CHECK(world.cache.files(kCommit).empty());  // the blob is not there
  World::write(folder / "refs" / "main", "../../../etc");
  CHECK_FALSE(world.cache.commit("main").has_value());
  World::write(folder / "refs" / "main", kCommit + "\n");
  CHECK(world.cache.commit("main") == kCommit);
  World::write(folder / "refs" / "main", std::string(100'000, 'c'));
  CHECK_FALSE(world.cache.commit("main").has_value());
}

TEST_CASE("a link to an older blob is replaced") {
  const World world;
  REQUIRE(world.cache.prepare().ok());
  const std::string newer(64, 'b');
  World::write(world.cache.blob(kHash), "old");
  World::write(world.cache.blob(newer), "new");
  REQUIRE(world.cache.publish("main", kCommit, {{"config.json", kHash}}).ok());
  REQUIRE(world.cache.publish("main", kCommit, {{"config.json", newer}}).ok());
  CHECK(World::read(world.cache.snapshot(kCommit) / "config.json") == "new");
}

}  // namespace
}  // namespace coppice::server
