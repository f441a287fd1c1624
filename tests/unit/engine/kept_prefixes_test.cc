// Prefixes that requests ask to keep: evicted last, for a time, within limits that accounts share; and what requests
// say about how far the cache may be read and written.
#include "engine/kept_prefixes.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <vector>

#include "engine/radix_tree.h"
#include "tests/support/fake_engine.h"

namespace coppice::testing {
namespace {

using engine::FinishReason;
using std::chrono::minutes;

engine::Limits tight_limits(std::int32_t account_pages, std::int32_t kept_pages) {
  engine::Limits limits = roomy_limits();
  limits.pages = 40;
  limits.model_tokens_max = 39 * 16;
  limits.kept = {account_pages, kept_pages};
  return limits;
}

engine::Request keeping(engine::RequestId id, std::int32_t flavour, std::vector<engine::KeepPrefix> keeps) {
  engine::Request request = FakeEngine::request(id, 100, 2, flavour);
  request.cache.keeps = std::move(keeps);
  return request;
}

// Other prompts, enough to evict all that can be.
void crowd_out(FakeEngine& fake, engine::RequestId first) {
  for (engine::RequestId id = first; id < first + 12; ++id) {
    fake.submit(FakeEngine::request(id, 300, 2, static_cast<std::int32_t>(id)));
    fake.run();
  }
}

std::int32_t cached_tokens(FakeEngine& fake, engine::RequestId id, std::int32_t flavour,
                           const std::string& tenant = "") {
  engine::Request request = FakeEngine::request(id, 100, 2, flavour);
  request.tenant = tenant;
  fake.submit(request);
  fake.run();
  CHECK(fake.heard(id).ids() == fake.true_ids(request));
  return fake.heard(id).last.usage.cached_tokens;
}

// A path of the tree, as a sequence would leave it.
class Path {
 public:
  Path(engine::KvPool& pool, engine::RadixTree& tree, const std::string& tenant, const std::vector<TokenId>& tokens)
      : table_(pool) {
    lock_ = tree.match(tenant, tokens, table_);
    while (table_.size() * pool.page_size() < static_cast<std::int32_t>(tokens.size())) {
      table_.append(pool.allocate());
    }
    tree.extend(lock_, tokens, table_);
  }
  ~Path() { table_.truncate(0); }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  const engine::RadixLock& lock() const { return lock_; }

 private:
  engine::RadixLock lock_;
  engine::PageTable table_;
};

}  // namespace

TEST_CASE("a kept prefix outlives others until its time is over", "[engine][keep]") {
  FakeEngine fake(tight_limits(10, 20));
  fake.submit(keeping(1, 0, {{64, minutes(5)}}));
  fake.run();
  CHECK(fake.core().stats().pages.kept == 4);
  crowd_out(fake, 10);
  CHECK(cached_tokens(fake, 2, 0) == 64);  // as far as it was asked for
  fake.now += minutes(4);
  crowd_out(fake, 30);
  CHECK(cached_tokens(fake, 3, 0) == 64);  // the use before has renewed it
  fake.now += minutes(4);
  crowd_out(fake, 50);
  CHECK(cached_tokens(fake, 4, 0) == 64);
  fake.now += minutes(6);
  crowd_out(fake, 70);
  CHECK(fake.core().stats().pages.kept == 0);
  CHECK(cached_tokens(fake, 5, 0) == 0);
}

TEST_CASE("kept prefixes give way when nothing else can", "[engine][keep]") {
  engine::Limits limits = tight_limits(40, 40);  // all of the pool
  FakeEngine fake(limits);
  for (engine::RequestId id = 1; id <= 6; ++id) {
    fake.submit(keeping(id, static_cast<std::int32_t>(id), {{100, minutes(60)}}));
    fake.run();
  }
  CHECK(fake.core().stats().pages.kept == 36);
  const engine::Request longest = FakeEngine::request(20, 600, 20, 9);
  fake.submit(longest);
  fake.run();
  CHECK(fake.heard(20).ids() == fake.true_ids(longest));
  CHECK(fake.core().stats().pages.kept <= 1);
  CHECK(cached_tokens(fake, 21, 1) == 0);  // the least recently used went first
}

TEST_CASE("an account keeps no more than its share, the latest of it", "[engine][keep]") {
  FakeEngine fake(tight_limits(8, 20));
  fake.submit(keeping(1, 1, {{96, minutes(60)}}));
  fake.run();
  fake.submit(keeping(2, 2, {{96, minutes(60)}}));
  fake.run();
  CHECK(fake.core().stats().pages.kept == 8);
  engine::Request other = keeping(3, 3, {{96, minutes(60)}});
  other.tenant = "other|salt";
  other.account = "other";
  fake.submit(other);
  fake.run();
  CHECK(fake.core().stats().pages.kept == 14);
  crowd_out(fake, 10);
  CHECK(cached_tokens(fake, 4, 2) == 96);
  CHECK(cached_tokens(fake, 5, 1) == 32);  // shortened from its end
  CHECK(cached_tokens(fake, 6, 3, "other|salt") == 96);
}

TEST_CASE("accounts that keep too much together are brought down to equal shares", "[engine][keep]") {
  engine::KvPool pool(64, 2);
  engine::RadixTree tree(pool, {30, 30});
  std::vector<TokenId> tokens(60);
  const auto keep_all = [&](const std::string& account, std::int32_t pages) {
    const Path path(pool, tree, account, {tokens.begin(), tokens.begin() + 2 * pages});
    tree.keep(path.lock(), pages, account, minutes(1));
    tree.check_integrity();
  };
  keep_all("a", 28);
  keep_all("b", 4);
  CHECK(tree.kept().pages_of("a") == 26);
  CHECK(tree.kept().pages_of("b") == 4);
  keep_all("c", 20);
  CHECK(tree.kept().pages_of("a") == 13);
  CHECK(tree.kept().pages_of("b") == 4);
  CHECK(tree.kept().pages_of("c") == 13);
}

TEST_CASE("prefixes of prefixes are counted once, and longer ones outlive shorter ones", "[engine][keep]") {
  FakeEngine fake(tight_limits(20, 20));
  fake.submit(keeping(1, 0, {{32, minutes(60)}, {64, minutes(5)}, {100, minutes(1)}}));
  fake.run();
  CHECK(fake.core().stats().pages.kept == 6);
  fake.now += minutes(2);
  crowd_out(fake, 10);
  CHECK(fake.core().stats().pages.kept == 4);
  fake.now += minutes(4);
  crowd_out(fake, 30);
  CHECK(fake.core().stats().pages.kept == 2);
  CHECK(cached_tokens(fake, 2, 0) == 32);
}

TEST_CASE("without a share nothing is kept; what cannot be kept is refused", "[engine][keep]") {
  FakeEngine fake(tight_limits(0, 0));
  fake.submit(keeping(1, 0, {{64, minutes(5)}}));
  fake.run();
  CHECK(fake.core().stats().pages.kept == 0);
  const std::vector<std::vector<engine::KeepPrefix>> wrong = {
      {{101, minutes(5)}},
      {{-1, minutes(5)}},
      {{64, minutes(0)}},
      {{64, minutes(5)}, {32, minutes(5)}},
      {{1, minutes(1)}, {2, minutes(1)}, {3, minutes(1)}, {4, minutes(1)}, {5, minutes(1)}}};
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    fake.submit(keeping(10 + i, 0, wrong[i]));
    fake.run();
    CHECK(fake.heard(10 + i).last.fault == engine::Fault::kRequest);
    CHECK(fake.heard(10 + i).last.error.starts_with("cache use"));
  }
}

TEST_CASE("a request reads and writes the cache as far as it says", "[engine][keep]") {
  FakeEngine fake;
  engine::Request request = FakeEngine::request(1, 100, 40);
  request.cache.write_tokens = 50;
  fake.submit(request);
  fake.run();
  CHECK(fake.heard(1).last.usage.cache_write_tokens == 48);
  CHECK(fake.core().stats().pages.cached == 3);
  request.id = 2;
  fake.submit(request);
  fake.run();
  CHECK(fake.heard(2).last.usage.cached_tokens == 48);
  CHECK(fake.heard(2).last.usage.cache_write_tokens == 0);
  request.id = 3;
  request.cache.reads = false;
  request.cache.write_tokens = 0;
  fake.submit(request);
  fake.run();
  CHECK(fake.heard(3).last.usage.cached_tokens == 0);
  CHECK(fake.heard(3).ids() == fake.true_ids(request));
  CHECK(fake.heard(3).ids() == fake.heard(2).ids());
  request.id = 4;
  request.cache = {};
  fake.submit(request);
  fake.run();
  CHECK(fake.heard(4).last.usage.cached_tokens == 48);
  CHECK(fake.heard(4).last.usage.cache_write_tokens == 48);  // 96 are the prompt's whole pages
  CHECK(fake.core().stats().pages.cached == 8);              // and two of the answer
}

TEST_CASE("no sequence waits for a prefix that its leader will not show", "[engine][keep]") {
  FakeEngine fake;
  engine::Request leader = FakeEngine::request(1, 300, 200);
  leader.cache.write_tokens = 32;
  fake.submit(leader);
  const engine::Request follower = FakeEngine::request(2, 300, 1);
  fake.submit(follower);
  for (int step = 0; step < 30; ++step) {
    fake.step();
  }
  CHECK(fake.heard(2).finished());
  CHECK(!fake.heard(1).finished());
  CHECK(fake.heard(2).last.usage.cached_tokens == 32);
  fake.run();
  CHECK(fake.heard(1).ids() == fake.true_ids(leader));
  CHECK(fake.heard(2).ids() == fake.true_ids(follower));
}

}  // namespace coppice::testing
