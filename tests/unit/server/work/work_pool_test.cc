// The pool's bounds, its turns, and that closing it neither loses a running job nor runs a waiting one.
#include "server/work/work_pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace coppice::server {
namespace {

constexpr std::size_t kLarge = WorkPool::kLargeBytes + 1;

// Runs until `release` is set.
void hold(WorkPool& pool, const std::string& tenant, std::size_t bytes, std::shared_future<void> release) {
  std::promise<void> entered;
  REQUIRE(pool.post(tenant, bytes, [&entered, release] {
    entered.set_value();
    release.wait();
  }));
  entered.get_future().wait();
}

TEST_CASE("tenants take turns, whatever each has queued") {
  WorkPool pool;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  hold(pool, "x", 1, released);
  std::promise<void> release_second;
  hold(pool, "y", 1, release_second.get_future().share());
  std::vector<std::string> order;  // one thread runs the jobs: the other is still held
  std::promise<void> done;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(pool.post("a", 1, [&order] { order.emplace_back("a"); }));
  }
  REQUIRE(pool.post("b", 1, [&order] { order.emplace_back("b"); }));
  REQUIRE(pool.post("c", 1, [&order] { order.emplace_back("c"); }));
  REQUIRE(pool.post("a", 1, [&done] { done.set_value(); }));
  release_second.set_value();
  done.get_future().wait();
  CHECK(order == std::vector<std::string>{"a", "b", "c", "a", "a"});
  release.set_value();
}

TEST_CASE("large jobs leave a thread to the small ones") {
  WorkPool pool;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  hold(pool, "a", kLarge, released);
  std::atomic<bool> second_ran = false;
  REQUIRE(pool.post("b", kLarge, [&] { second_ran = true; }));
  std::promise<void> small;
  REQUIRE(pool.post("a", 1, [&] { small.set_value(); }));
  small.get_future().wait();
  CHECK_FALSE(second_ran);
  release.set_value();
  while (!second_ran) {
    std::this_thread::yield();
  }
}

TEST_CASE("jobs and bytes are bounded, for all and for each tenant, until the job has ended") {
  WorkPoolOptions options;
  options.jobs_max = 4;
  options.bytes_max = 100;
  options.tenant_jobs_max = 3;
  options.tenant_bytes_max = 60;
  WorkPool pool(options);
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  hold(pool, "a", 30, released);
  hold(pool, "a", 20, released);
  CHECK_FALSE(pool.post("a", 11, [] {}));  // the tenant's bytes
  CHECK(pool.post("a", 10, [] {}));
  CHECK_FALSE(pool.post("a", 0, [] {}));   // the tenant's jobs
  CHECK_FALSE(pool.post("b", 41, [] {}));  // everyone's bytes
  CHECK_FALSE(pool.post("c", 61, [] {}));  // a new tenant that is over its bytes leaves nothing behind
  CHECK(pool.post("b", 40, [] {}));
  CHECK_FALSE(pool.post("c", 0, [] {}));  // everyone's jobs
  release.set_value();
  while (pool.jobs() > 0) {
    std::this_thread::yield();
  }
  CHECK(pool.post("a", 60, [] {}));
}

TEST_CASE("a job that throws costs neither the thread nor its place") {
  WorkPool pool;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(pool.post("", kLarge, [] { throw std::runtime_error("on purpose"); }));
  }
  std::promise<void> done;
  REQUIRE(pool.post("", kLarge, [&] { done.set_value(); }));
  done.get_future().wait();
}

TEST_CASE("closing waits for what runs and drops what waits") {
  WorkPool pool;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  hold(pool, "a", 1, released);
  hold(pool, "b", 1, released);
  std::atomic<bool> ran = false;
  const auto owned = std::make_shared<int>(1);
  REQUIRE(pool.post("a", 1, [&ran, owned] { ran = true; }));
  std::thread closer([&] { pool.close(); });
  while (owned.use_count() > 1) {
    std::this_thread::yield();
  }
  release.set_value();
  closer.join();
  CHECK_FALSE(ran);
  CHECK(pool.jobs() == 0);
  CHECK_FALSE(pool.post("a", 1, [] {}));
}

}  // namespace
}  // namespace coppice::server
