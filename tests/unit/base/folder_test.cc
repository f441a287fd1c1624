// A folder's files by name: what stands there instead of a file is never followed or waited for.
#include "base/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace coppice::base {
namespace {

namespace fs = std::filesystem;

struct Place {
  Place() : path(fs::temp_directory_path() / ("coppice_folder_" + std::to_string(getpid()))) { fs::remove_all(path); }
  ~Place() { fs::remove_all(path); }
  const fs::path path;
};

absl::Status put(const Folder& folder, const std::string& name, std::string_view text) {
  const std::array<std::string_view, 1> parts = {text};
  return folder.replace(name, parts);
}

}  // namespace

TEST_CASE("a folder is made for its owner alone, and its files come and go by name", "[folder]") {
  const Place place;
  absl::StatusOr<Folder> folder = Folder::open(place.path);
  REQUIRE(folder.ok());
  CHECK((fs::status(place.path).permissions() & fs::perms::all) == fs::perms::owner_all);
  REQUIRE(put(*folder, "b", "two").ok());
  REQUIRE(put(*folder, "a", "one").ok());
  CHECK(folder->names() == std::vector<std::string>{"a", "b"});
  CHECK(folder->names() == std::vector<std::string>{"a", "b"});  // again
  CHECK(folder->read("a", 10).value() == "one");
  CHECK(folder->read("a", 2).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(folder->read("c", 10).status().code() == absl::StatusCode::kNotFound);
  const int appended = folder->open_to_append("a").value();
  CHECK(::lseek(appended, 0, SEEK_END) == 3);
  ::close(appended);
  CHECK(folder->remove("a"));
  CHECK(folder->remove("a"));
  const Folder inner = folder->subfolder("inner").value();
  REQUIRE(put(inner, "a", "other").ok());
  CHECK(inner.path() == place.path / "inner");
  CHECK_FALSE(folder->remove("inner"));
  CHECK(folder->names() == std::vector<std::string>{"b", "inner"});
}

TEST_CASE("one process at a time has a folder locked", "[folder]") {
  const Place place;
  const Folder first = Folder::open(place.path).value();
  {
    const Folder second = Folder::open(place.path).value();
    CHECK(first.lock());
    CHECK_FALSE(second.lock());
  }
  CHECK(first.lock());
}

TEST_CASE("links, FIFOs and folders in the place of a file are refused, and what they lead to is as it was",
          "[folder]") {
  const Place place;
  const Folder folder = Folder::open(place.path).value();
  const fs::path outside = place.path.string() + "_outside";
  std::ofstream(outside) << "secret";
  fs::create_symlink(outside, place.path / "link");
  REQUIRE(mkfifo((place.path / "fifo").c_str(), S_IRUSR | S_IWUSR) == 0);
  fs::create_directory(place.path / "folder");
  fs::create_directory_symlink("/tmp", place.path / "away");
  for (const std::string name : {"link", "fifo", "folder"}) {
    INFO(name);
    CHECK(folder.read(name, 100).status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(folder.open_to_append(name).ok());
  }
  CHECK_FALSE(folder.subfolder("away").ok());
  CHECK_FALSE(folder.subfolder("link").ok());
  REQUIRE(put(folder, "link", "mine").ok());  // replaces the link itself
  CHECK(folder.read("link", 100).value() == "mine");
  std::ifstream file(outside);
  std::string kept;
  file >> kept;
  CHECK(kept == "secret");
  fs::remove(outside);
  CHECK_FALSE(Folder::open(place.path / "fifo").ok());
  CHECK_FALSE(Folder::open(place.path / "none" / "none").ok());
}

}  // namespace coppice::base
