// Files that are what they should be, and everything that may stand where a file is due.
#include "base/file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

namespace coppice::base {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMost = 1000;

// A folder that goes with its test.
struct Folder {
  Folder() : path(fs::temp_directory_path() / ("coppice_file_" + std::to_string(getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string write(const char* name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
    return (path / name).string();
  }
  const fs::path path;
};

absl::Status replace(const fs::path& path, std::string_view text) {
  const std::array<std::string_view, 1> parts = {text};
  return replace_file(path, parts, FileReaders::kOwner);
}

std::size_t entries_of(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a regular file is read whole, up to the limit", "[file]") {
  const Folder folder;
  const std::string text("a\0b\n", 4);
  CHECK(read_file(folder.write("a", text), kMost).value() == text);
  CHECK(read_file(folder.write("empty", ""), kMost).value().empty());
  CHECK(read_file(folder.write("most", std::string(kMost, 'x')), kMost).value().size() == kMost);
  const absl::Status more = read_file(folder.write("more", std::string(kMost + 1, 'x')), kMost).status();
  CHECK(more.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(more.message()), Catch::Contains("at most 1000"));
  CHECK(read_file(folder.path / "none", kMost).status().code() == absl::StatusCode::kNotFound);
  fs::create_symlink(folder.path / "a", folder.path / "link");
  CHECK(read_file(folder.path / "link", kMost).value() == text);
}

TEST_CASE("what is no regular file is refused at once", "[file]") {
  const Folder folder;
  const std::string fifo = (folder.path / "fifo").string();
  REQUIRE(mkfifo(fifo.c_str(), S_IRUSR | S_IWUSR) == 0);
  for (const std::string& path : {fifo, folder.path.string(), std::string("/dev/zero"), std::string("/dev/null")}) {
    INFO(path);
    const absl::Status status = read_file(path, kMost).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains("not a regular file"));
  }
}

TEST_CASE("a file that shrinks under its reader is an error, not a signal", "[file]") {
  const Folder folder;
  const std::string path = folder.write("a", std::string(100, 'x'));
  const absl::StatusOr<RegularFile> file = RegularFile::open(path);
  REQUIRE(file.ok());
  fs::resize_file(path, 60);
  std::array<std::byte, 50> bytes{};
  CHECK(file->read(10, bytes).ok());
  const absl::Status status = file->read(20, bytes);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(status.message()), Catch::Contains("has shrunk to 60 bytes"));
}

TEST_CASE("a file is replaced as a whole, and only its owner may read it", "[file]") {
  const Folder folder;
  const fs::path path = folder.path / "state";
  REQUIRE(replace(path, "one").ok());
  REQUIRE(replace(path, "two").ok());
  CHECK(read_file(path, kMost).value() == "two");
  CHECK((fs::status(path).permissions() & fs::perms::others_read) == fs::perms::none);
  CHECK(entries_of(folder.path) == 1);
}

TEST_CASE("a file that cannot be written whole leaves the old one and nothing beside it", "[file]") {
  const Folder folder;
  const fs::path path = folder.path / "state";
  REQUIRE(replace(path, "old").ok());
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 4096;  // stands for a full disk
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const absl::Status status = replace(path, std::string(10000, 'x'));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(read_file(path, kMost).value() == "old");
  CHECK(entries_of(folder.path) == 1);
}

TEST_CASE("what stands in the way of a replacement is no trap", "[file]") {
  const Folder folder;
  const fs::path path = folder.path / "state";
  REQUIRE(mkfifo((path.string() + ".tmp").c_str(), S_IRUSR | S_IWUSR) == 0);
  REQUIRE(replace(path, "new").ok());  // a FIFO beside is taken away, not waited for
  CHECK(read_file(path, kMost).value() == "new");
  const std::string other = folder.write("other", "untouched");
  fs::create_symlink(other, path.string() + ".tmp");
  REQUIRE(replace(path, "newer").ok());
  CHECK(read_file(other, kMost).value() == "untouched");
  fs::create_directory(folder.path / "folder");
  CHECK_FALSE(replace(folder.path / "folder", "x").ok());
  CHECK_FALSE(replace(folder.path / "none" / "state", "x").ok());
  CHECK(entries_of(folder.path) == 3);
}

}  // namespace coppice::base
