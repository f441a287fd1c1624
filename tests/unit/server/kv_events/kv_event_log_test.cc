// The log of KV events: cutting into batches, numbers, the bound on memory, listeners.
#include "server/kv_events/kv_event_log.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>

namespace coppice::server {
namespace {

using engine::BlockHash;
using engine::CacheChange;

CacheChange stored(BlockHash first, std::size_t blocks, std::size_t page_size) {
  CacheChange change{.kind = CacheChange::Kind::kStored, .tenant = "t", .parent = first - 1, .blocks = {}};
  for (std::size_t i = 0; i < blocks; ++i) {
    change.blocks.push_back(first + i);
  }
  for (std::size_t i = 0; i < blocks * page_size; ++i) {
    change.tokens.push_back(static_cast<TokenId>(first * page_size + i));
  }
  return change;
}

TEST_CASE("changes are cut into batches, and a long chain goes on behind its last block", "[kv_events]") {
  const auto batches =
      cut_changes({{.kind = CacheChange::Kind::kCleared, .tenant = {}, .parent = {}, .blocks = {}},
                   stored(100, 10, 2),
                   {.kind = CacheChange::Kind::kRemoved, .tenant = {}, .parent = {}, .blocks = {1, 2, 3, 4, 5}}},
                  4, 2);
  BlockHash next = 100;
  std::size_t removed = 0;
  std::size_t clears = 0;
  for (const std::vector<CacheChange>& batch : batches) {
    REQUIRE_FALSE(batch.empty());
    std::size_t blocks = 0;
    for (const CacheChange& change : batch) {
      blocks += change.blocks.size();
      if (change.kind == CacheChange::Kind::kCleared) {
        ++clears;
      } else if (change.kind == CacheChange::Kind::kRemoved) {
        removed += change.blocks.size();
        CHECK(change.tokens.empty());
      } else {
        CHECK(change.tenant == "t");
        CHECK(change.parent == next - 1);
        REQUIRE(change.tokens.size() == 2 * change.blocks.size());
        CHECK(change.tokens.front() == static_cast<TokenId>(2 * next));
        CHECK(change.blocks.front() == next);
        next += change.blocks.size();
      }
    }
    CHECK(blocks <= 4);
  }
  CHECK(clears == 1);
  CHECK(next == 110);
  CHECK(removed == 5);
}

TEST_CASE("the log forgets its oldest batches to stay within its memory", "[kv_events]") {
  constexpr std::size_t kBytes = 100'000;
  KvEventLog log(kBytes);
  CHECK(log.find(0) == nullptr);
  CHECK(log.oldest() == 0);
  for (BlockHash i = 0; i < 1000; ++i) {
    const KvEventBatchPointer told = log.append({stored(i + 1, 16, 16)}, 1);
    CHECK(told->sequence == i);
    CHECK(log.bytes() <= kBytes);
  }
  CHECK(log.next() == 1000);
  CHECK(log.oldest() > 900);
  CHECK(log.oldest() < 1000 - 16);
  CHECK(log.find(0)->sequence == log.oldest());
  CHECK(log.find(995)->sequence == 995);
  CHECK(log.find(995)->changes.at(0).blocks.at(0) == 996);
  CHECK(log.find(1000) == nullptr);
  CHECK(log.find(std::numeric_limits<std::uint64_t>::max()) == nullptr);
  CHECK(log.append({stored(1, 16384, 16)}, 1)->sequence == 1000);  // larger than all of its memory
  CHECK(log.oldest() == 1000);
}

TEST_CASE("listeners are woken by what comes, until they are removed", "[kv_events]") {
  KvEventLog log(1000);
  int woken = 0;
  const std::uint64_t listener = log.add_listener([&woken] { ++woken; });
  log.append({CacheChange()}, 1);
  CHECK(woken == 1);
  CHECK_FALSE(log.is_closed());
  log.close();
  CHECK(log.is_closed());
  CHECK(woken == 2);
  log.remove_listener(listener);
  log.append({CacheChange()}, 1);
  CHECK(woken == 2);
}

}  // namespace
}  // namespace coppice::server
