// Files that are what their hash says, and files that only look so.
#include "server/hub/content_check.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>
#include "fmt/format.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

// SHA-256 of "abc", as FIPS 180-4's examples have it.
const std::string kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST_CASE("a content is read once, and again when its file has changed") {
  const fs::path folder = fs::temp_directory_path() / fmt::format("coppice_content_check_{}", ::getpid());
  fs::create_directories(folder);
  const fs::path file = folder / "model.gguf";
  const auto write = [&](const char* text, int seconds) {
    std::ofstream(file) << text;
    fs::last_write_time(file, fs::file_time_type(std::chrono::seconds(seconds)));
  };
  CHECK_FALSE(has_content(file, 3, kAbc));
  write("abc", 1);
  CHECK(has_content(file, 3, kAbc));
  CHECK(fs::exists(folder / ".model.gguf.checked"));
  CHECK_FALSE(has_content(file, 4, kAbc));
  CHECK_FALSE(has_content(file, 3, std::string(64, '0')));
  write("abd", 1);
  CHECK(has_content(file, 3, kAbc));  // not read: the file looks as it did
  write("abd", 2);
  CHECK_FALSE(has_content(file, 3, kAbc));
  CHECK_FALSE(has_content(folder, 3, kAbc));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace coppice::server
