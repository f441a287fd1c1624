// Downloads where the system refuses what they need. What servers do is in tests/e2e/test_hub.py.
#include "server/hub/download.h"

#include <catch2/catch.hpp>
#include <cstddef>
#include <filesystem>
#include <fstream>

#include <pthread.h>
#include <unistd.h>
#include "fmt/format.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

// Stacks of threads too large for any machine, so that none can be made.
struct NoThreads {
  pthread_attr_t before{};

  NoThreads() {
    pthread_getattr_default_np(&before);
    pthread_attr_t attributes;
    pthread_getattr_default_np(&attributes);
    REQUIRE(pthread_attr_setstacksize(&attributes, std::size_t{1} << 47) == 0);  // bytes: all that addresses reach
    REQUIRE(pthread_setattr_default_np(&attributes) == 0);
    pthread_attr_destroy(&attributes);
  }
  ~NoThreads() {
    pthread_setattr_default_np(&before);
    pthread_attr_destroy(&before);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
};

TEST_CASE("without a thread to be had, the caller's fetches") {
  const fs::path folder = fs::temp_directory_path() / fmt::format("coppice_download_{}", ::getpid());
  fs::create_directories(folder);
  std::ofstream(folder / "there") << "content";
  Download there;
  there.what = "there";
  there.bytes = 7;
  there.path = folder / "there";
  there.lock = folder / "there.lock";
  Download other = there;
  other.path = folder / "nowhere" / "other";
  const HttpsClient client(HttpsOptions{});
  {
    const NoThreads none;
    CHECK(download_all(client, {there, there}, {}).ok());
    CHECK_FALSE(download_all(client, {there, other}, {}).ok());
    CHECK(download_all(client, {}, {}).ok());
  }
  CHECK(download_all(client, {there, there}, {}).ok());
  fs::remove_all(folder);
}

}  // namespace
}  // namespace coppice::server
