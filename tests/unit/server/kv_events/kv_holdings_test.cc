// What is held by what was told: a reader who takes a snapshot and then the batches behind it knows what one knows who
// read everything.
#include "server/kv_events/kv_holdings.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace coppice::server {
namespace {

using engine::BlockHash;
using engine::CacheChange;

constexpr std::size_t kPageSize = 2;

// A reader's books: hash to tenant and the tokens up to there. Refuses what strict readers refuse.
class Books {
 public:
  void read(const CacheChange& change) {
    switch (change.kind) {
      case CacheChange::Kind::kCleared:
        blocks_.clear();
        return;
      case CacheChange::Kind::kRemoved:
        for (const BlockHash hash : change.blocks) {
          REQUIRE(blocks_.erase(hash) == 1);
        }
        return;
      case CacheChange::Kind::kStored:
        break;
    }
    REQUIRE(change.tokens.size() == change.blocks.size() * kPageSize);
    std::vector<TokenId> prefix;
    if (change.parent) {
      REQUIRE(blocks_.count(*change.parent) == 1);
      prefix = blocks_.at(*change.parent).second;
    }
    for (std::size_t i = 0; i < change.blocks.size(); ++i) {
      prefix.insert(prefix.end(), change.tokens.begin() + static_cast<std::ptrdiff_t>(i * kPageSize),
                    change.tokens.begin() + static_cast<std::ptrdiff_t>((i + 1) * kPageSize));
      REQUIRE(blocks_.emplace(change.blocks[i], std::pair(change.tenant, prefix)).second);
    }
  }
  bool operator==(const Books& other) const { return blocks_ == other.blocks_; }
  std::size_t size() const { return blocks_.size(); }
  // A block that has no children.
  BlockHash leaf(const std::map<BlockHash, BlockHash>& parents, std::mt19937& random) const {
    std::set<BlockHash> with_children;
    for (const auto& [hash, block] : blocks_) {
      if (const auto parent = parents.find(hash); parent != parents.end()) {
        with_children.insert(parent->second);
      }
    }
    std::vector<BlockHash> leaves;
    for (const auto& [hash, block] : blocks_) {
      if (with_children.count(hash) == 0) {
        leaves.push_back(hash);
      }
    }
    return leaves[random() % leaves.size()];
  }
  BlockHash any(std::mt19937& random) const {
    return std::next(blocks_.begin(), static_cast<std::ptrdiff_t>(random() % blocks_.size()))->first;
  }
  const std::string& tenant(BlockHash hash) const { return blocks_.at(hash).first; }

 private:
  std::map<BlockHash, std::pair<std::string, std::vector<TokenId>>> blocks_;
};

// Grows and shrinks like a cache: chains behind any block, leaves that go, now and then everything anew.
class Cache {
 public:
  explicit Cache(std::uint32_t seed) : random_(seed) {}

  std::vector<CacheChange> change() {
    const auto draw = random_() % 20;
    CacheChange change;
    if (draw == 0 && truth.size() > 200) {
      change.kind = CacheChange::Kind::kCleared;
    } else if (draw < 9 && truth.size() > 0) {
      change.kind = CacheChange::Kind::kRemoved;
      change.blocks = {truth.leaf(parents_, random_)};
    } else {
      change = stored();
    }
    truth.read(change);
    return {change};
  }

  Books truth;

 private:
  CacheChange stored() {
    CacheChange change{.kind = CacheChange::Kind::kStored, .tenant = {}, .parent = {}, .blocks = {}};
    if (truth.size() > 0 && random_() % 4 != 0) {
      change.parent = truth.any(random_);
      change.tenant = truth.tenant(*change.parent);
    } else {
      change.tenant = random_() % 2 == 0 ? "" : "key-of-a-tenant";
    }
    std::optional<BlockHash> parent = change.parent;
    for (std::size_t i = 0, count = 1 + random_() % 4; i < count; ++i) {
      const BlockHash hash = next_++ * 0x9e3779b97f4a7c15U;  // in no order
      if (parent) {
        parents_[hash] = *parent;
      }
      parent = hash;
      change.blocks.push_back(hash);
      change.tokens.push_back(static_cast<TokenId>(random_() % 100));
      change.tokens.push_back(static_cast<TokenId>(random_() % 100));
    }
    return change;
  }

  std::mt19937 random_;
  std::map<BlockHash, BlockHash> parents_;
  BlockHash next_ = 1;
};

TEST_CASE("a snapshot and the batches behind it tell what all batches tell", "[kv_events]") {
  for (const std::uint32_t seed : {1U, 2U, 3U}) {
    INFO("seed " << seed);
    Cache cache(seed);
    KvHoldings holdings;
    std::vector<KvEventBatch> batches;
    std::vector<KvSnapshot> snapshots{holdings.snapshot()};
    for (std::uint64_t number = 0; number < 300; ++number) {
      batches.push_back({number, static_cast<double>(number), cache.change()});
      holdings.apply(batches.back());
      if (number % 37 == 0) {
        snapshots.push_back(holdings.snapshot());
        CHECK(snapshots.back().next == number + 1);
        CHECK(snapshots.back().unix_s == static_cast<double>(number));
      }
    }
    CHECK(cache.truth.size() > 10);
    for (const KvSnapshot& snapshot : snapshots) {  // later changes have not touched it
      Books books;
      for (std::size_t at = 0; at < snapshot.blocks.size(); at += 7) {  // as it is told: in parts
        const std::size_t count = std::min<std::size_t>(7, snapshot.blocks.size() - at);
        for (const CacheChange& change : to_changes(std::span(snapshot.blocks).subspan(at, count))) {
          books.read(change);
        }
      }
      for (std::uint64_t number = snapshot.next; number < batches.size(); ++number) {
        for (const CacheChange& change : batches[number].changes) {
          books.read(change);
        }
      }
      CHECK((books == cache.truth));
    }
  }
}

TEST_CASE("blocks that follow one another are told in one change", "[kv_events]") {
  KvHoldings holdings;
  CacheChange chain{.kind = CacheChange::Kind::kStored, .tenant = "t", .parent = {}, .blocks = {5, 3, 9}};
  chain.tokens = {1, 2, 3, 4, 5, 6};
  CacheChange branch{.kind = CacheChange::Kind::kStored, .tenant = "t", .parent = 5, .blocks = {7}};
  branch.tokens = {7, 8};
  holdings.apply({0, 1, {chain, branch, chain}});  // what is held already is held once
  const std::vector<CacheChange> told = to_changes(holdings.snapshot().blocks);
  REQUIRE(told.size() == 2);
  CHECK((told[0].blocks == chain.blocks));
  CHECK((told[0].tokens == chain.tokens));
  CHECK_FALSE(told[0].parent.has_value());
  CHECK(told[1].parent == BlockHash{5});
  CHECK((told[1].tokens == branch.tokens));
  CHECK(holdings.log_bytes() > 4 * (sizeof(BlockHash) + kPageSize * sizeof(TokenId)));
  holdings.apply({1, 2, {CacheChange()}});
  CHECK(holdings.snapshot().blocks.empty());
  CHECK(holdings.log_bytes() == 0);
}

}  // namespace
}  // namespace coppice::server
