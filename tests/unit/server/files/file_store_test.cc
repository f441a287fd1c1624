// Clients' files on disk: whole or not there, each tenant's for itself, within quotas, until their time is over.
#include "server/files/file_store.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

const std::string kTenant = "key-0123456789abcdef";

class Place {
 public:
  Place() : path(fs::temp_directory_path() / ("coppice_files_" + std::to_string(getpid()))) { fs::remove_all(path); }
  ~Place() { fs::remove_all(path); }

  std::unique_ptr<FileStore> open(const FileLimits& limits = {}) {
    absl::StatusOr<std::unique_ptr<FileStore>> store = FileStore::open(path.string(), limits, [this] { return now; });
    INFO(std::string(store.status().message()));
    REQUIRE(store.ok());
    return *std::move(store);
  }
  std::size_t entries(const std::string& folder) const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path / folder), fs::directory_iterator()));
  }

  const fs::path path;
  std::int64_t now = 1000;
};

NewFile named(const std::string& name, std::int64_t expires_after_s = 0) {
  return {name, "batch", expires_after_s};
}

std::string read(const FileStore& store, const std::string& tenant, const std::string& id) {
  const openai::Result<base::RegularFile> file = store.content(tenant, id);
  REQUIRE(file.ok());
  std::string text(file.value().size(), '\0');
  REQUIRE(file.value().read(0, std::as_writable_bytes(std::span<char>(text))).ok());
  return text;
}

openai::ListQuery page(std::int64_t limit, std::string after = "", bool ascending = true) {
  return {std::move(after), limit, ascending};
}

}  // namespace

TEST_CASE("files outlive their store, and go when they are removed", "[files]") {
  Place place;
  const std::string content("line\0\n", 6);
  std::string id;
  {
    const auto store = place.open();
    const auto card = store->add("", named("../../etc/passwd"), content);
    REQUIRE(card.ok());
    id = card.value().id;
    CHECK(openai::is_object_id(id, openai::kFilePrefix));
    CHECK(card.value().bytes == 6);
    CHECK(card.value().created_s == 1000);
    CHECK_FALSE(FileStore::open(place.path.string(), {}, [] { return std::int64_t{0}; }).ok());  // one at a time
  }
  const auto store = place.open();
  const auto card = store->find("", id);
  REQUIRE(card.ok());
  CHECK(card.value().filename == "../../etc/passwd");  // text
  CHECK(read(*store, "", id) == content);
  CHECK(place.entries("default") == 2);
  CHECK_FALSE(store->remove("", id).has_value());
  CHECK(store->remove("", id)->status == 404);
  CHECK(place.entries("default") == 0);
}

TEST_CASE("a tenant sees nothing of another's", "[files]") {
  Place place;
  const auto store = place.open();
  const std::string id = store->add(kTenant, named("a"), "mine").value().id;
  for (const std::string& other : {std::string(), std::string("key-ffffffffffffffff")}) {
    CHECK(store->find(other, id).error().status == 404);
    CHECK(store->content(other, id).error().status == 404);
    CHECK(store->remove(other, id)->status == 404);
    CHECK(store->hold(other, id)->status == 404);
    CHECK(store->list(other, page(10), "").value().empty());
    CHECK_FALSE(store->list(other, page(10, id), "").ok());
  }
  CHECK(read(*store, kTenant, id) == "mine");
}

TEST_CASE("lists come in pages, in order of creation", "[files]") {
  Place place;
  const auto store = place.open();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(store->add("", {"a", i == 3 ? "vision" : "batch", 0}, "x").value().id);
    ++place.now;
  }
  const auto first = store->list("", page(2), "").value();
  REQUIRE(first.size() == 3);  // one more than asked for: there are more
  CHECK(first[0].id == ids[0]);
  const auto rest = store->list("", page(10, ids[1]), "").value();
  REQUIRE(rest.size() == 3);
  CHECK(rest[0].id == ids[2]);
  const auto last = store->list("", page(10, ids[3], false), "batch").value();
  REQUIRE(last.size() == 3);
  CHECK(last[0].id == ids[2]);
  CHECK(store->list("", page(10), "vision").value().at(0).id == ids[3]);
}

TEST_CASE("quotas in bytes and in files", "[files]") {
  Place place;
  const auto store = place.open({.tenant_bytes = 10, .tenant_files = 2, .files = 3});
  const std::string first = store->add("", named("a"), "123456").value().id;
  const auto more = store->add("", named("b"), "12345");
  REQUIRE_FALSE(more.ok());
  CHECK(more.error().status == 400);
  CHECK(more.error().code == "storage_quota_exceeded");
  CHECK(store->add("", named("b"), "1234").ok());
  CHECK(store->add("", named("c"), "").error().code == "storage_quota_exceeded");
  CHECK_FALSE(store->quota_refusal("", 1).empty());
  CHECK(store->quota_refusal("", 0).empty());
  CHECK(store->add(kTenant, named("a"), "1").ok());
  CHECK(store->add(kTenant, named("a"), "1").error().code == "storage_quota_exceeded");  // of all
  CHECK_FALSE(store->remove("", first).has_value());
  CHECK(store->add("", named("a"), "123456").ok());
}

TEST_CASE("files expire, but not while they are held", "[files]") {
  Place place;
  const auto store = place.open();
  const std::string held = store->add("", named("a", 100), "x").value().id;
  const std::string other = store->add("", named("b", 100), "x").value().id;
  const std::string kept = store->add("", named("c"), "x").value().id;
  REQUIRE_FALSE(store->hold("", held).has_value());
  place.now += 100;
  CHECK(store->find("", other).error().status == 404);  // before it is removed
  store->expire();
  CHECK(place.entries("default") == 4);
  CHECK(store->find("", held).ok());
  CHECK(store->remove("", held)->code == "file_in_use");
  store->release("", held);
  CHECK(store->find("", held).error().status == 404);
  store->expire();
  CHECK(place.entries("default") == 2);
  CHECK(store->find("", kept).ok());
}

TEST_CASE("what a killed process or a stranger left in the folder harms nothing", "[files]") {
  Place place;
  std::string id;
  std::string shrunk;
  {
    const auto store = place.open();
    id = store->add("", named("a"), "whole").value().id;
    shrunk = store->add("", named("b"), "to be cut").value().id;
  }
  const fs::path folder = place.path / "default";
  const auto name = [](char digit) { return "file-" + std::string(24, digit); };
  std::ofstream(folder / (name('1') + ".data")) << "content without a card";
  std::ofstream(folder / (name('2') + ".data.tmp")) << "torn";
  std::ofstream(folder / (name('3') + ".json")) << "{not json";
  std::ofstream(folder / (name('3') + ".data")) << "its content";
  fs::create_symlink("/etc/passwd", folder / (name('4') + ".data"));
  std::ofstream(folder / (name('4') + ".json"))
      << R"({"id":")" << name('4') << R"(","bytes":5,"created_at":1,"filename":"x","purpose":"batch"})";
  REQUIRE(mkfifo((folder / (name('5') + ".json")).c_str(), S_IRUSR | S_IWUSR) == 0);
  fs::create_directory(folder / (name('6') + ".json"));
  std::ofstream(folder / (name('7') + ".json"))
      << R"({"id":")" << name('8') << R"(","bytes":0,"created_at":1,"filename":"x","purpose":"batch"})";
  std::ofstream(folder / (name('7') + ".data"));
  fs::resize_file(folder / (shrunk + ".data"), 2);
  std::ofstream(place.path / "notes.txt") << "not a tenant";
  fs::create_directory_symlink("/etc", place.path / kTenant);
  const auto store = place.open();
  store->drop_unfinished("", {});
  CHECK(store->list("", page(100), "").value().size() == 1);
  CHECK(read(*store, "", id) == "whole");
  CHECK_FALSE(fs::exists(folder / (name('1') + ".data")));
  CHECK_FALSE(fs::exists(folder / (name('2') + ".data.tmp")));
  CHECK(fs::exists(folder / (name('3') + ".data")));  // its card may be mended
  CHECK(fs::exists(place.path / "notes.txt"));
  CHECK(store->add(kTenant, named("a"), "x").error().status == 500);  // not into /etc
  CHECK(store->tenants() == std::vector<std::string>{""});
}

TEST_CASE("a full disk is said, and leaves nothing behind", "[files]") {
  Place place;
  const auto store = place.open();
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 4096;  // stands for a full disk
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto card = store->add("", named("a"), std::string(10000, 'x'));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(card.ok());
  CHECK(card.error().status == 507);
  CHECK(place.entries("default") == 0);
  CHECK(store->quota_refusal("", (std::int64_t{1} << 30)).empty());  // nothing stays reserved
}

TEST_CASE("many threads at once stay within the quota", "[files]") {
  Place place;
  const auto store = place.open({.tenant_bytes = 1000, .tenant_files = 50, .files = 100});
  std::vector<std::thread> threads;
  std::atomic<int> added{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 10; ++k) {
        const auto card = store->add("", named("a"), std::string(50, 'x'));
        added += card.ok() ? 1 : 0;
        if (card.ok() && k % 3 == 0) {
          added -= store->remove("", card.value().id).has_value() ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(store->list("", page(100), "").value().size() == static_cast<std::size_t>(added));
  CHECK(added <= 20);
  CHECK(place.entries("default") == 2 * static_cast<std::size_t>(added));
}

TEST_CASE("content that has grown line by line becomes a file", "[files]") {
  Place place;
  const auto store = place.open();
  const auto folder = store->folder("");
  REQUIRE(folder.ok());
  const std::string id = FileStore::new_id(openai::kFilePrefix);
  const int file = (*folder)->open_to_append(FileStore::data_name(id)).value();
  REQUIRE(::write(file, "a\n", 2) == 2);
  ::close(file);
  store->drop_unfinished("", {id});
  CHECK(store->find("", id).error().status == 404);
  openai::FileCard card;
  card.id = id;
  card.created_s = 5;
  card.filename = std::string("output.jsonl");
  card.purpose = std::string("batch_output");
  REQUIRE(store->adopt("", card).ok());
  REQUIRE(store->adopt("", card).ok());  // again, after a crash
  CHECK(store->find("", id).value().bytes == 2);
  CHECK(store->quota_refusal("", (std::int64_t{1} << 30) - 2).empty());
  CHECK_FALSE(store->quota_refusal("", (std::int64_t{1} << 30) - 1).empty());
}

}  // namespace coppice::server
