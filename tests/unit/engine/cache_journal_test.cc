// What the prefix cache reports: the names of blocks, and a reader that knows nothing but the changes against the tree
// itself, in worlds where the reader falls behind.
#include "engine/cache_journal.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/radix_tree.h"

namespace coppice::engine {
namespace {

using std::chrono::milliseconds;

constexpr std::int32_t kPageSize = 2;

std::vector<CacheChange> stored(const std::string& tenant, const std::vector<TokenId>& tokens) {
  KvPool pool(8, kPageSize);
  const auto queue = std::make_shared<CacheChangeQueue>();
  CacheJournal journal(queue, pool);
  std::vector<PageId> pages;
  for (PageId page = 0; page < static_cast<PageId>(tokens.size() / kPageSize); ++page) {
    pages.push_back(page);
  }
  journal.store(tenant, kNoPage, pages, tokens);
  journal.flush(RadixTree(pool));
  return queue->take(milliseconds(0));
}

TEST_CASE("a block is named by its tokens and all before them", "[cache_journal]") {
  const std::vector<BlockHash> one = stored("", {1, 2, 3, 4, 5, 6}).at(0).blocks;
  const std::vector<BlockHash> other = stored("", {1, 2, 3, 4, 5, 7}).at(0).blocks;
  const std::vector<BlockHash> late = stored("", {9, 2, 3, 4, 5, 6}).at(0).blocks;
  const std::vector<BlockHash> salted = stored("|salt", {1, 2, 3, 4, 5, 6}).at(0).blocks;
  REQUIRE(one.size() == 3);
  CHECK((one == stored("", {1, 2, 3, 4, 5, 6}).at(0).blocks));
  CHECK(one[0] == other[0]);
  CHECK(one[1] == other[1]);
  CHECK(one[2] != other[2]);
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i] != late[i]);
    CHECK(one[i] != salted[i]);
  }
}

TEST_CASE("a path that grows is told as a chain, what leaves it from its end", "[cache_journal]") {
  KvPool pool(8, kPageSize);
  const auto queue = std::make_shared<CacheChangeQueue>();
  CacheJournal journal(queue, pool);
  RadixTree tree(pool, {}, &journal);
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6};
  PageTable table(pool);
  RadixLock lock = tree.match("red", tokens, table);
  for (int i = 0; i < 3; ++i) {
    table.append(pool.allocate());
  }
  tree.extend(lock, std::span(tokens).first(2), table);
  journal.flush(tree);
  tree.extend(lock, tokens, table);
  journal.flush(tree);
  const std::vector<CacheChange> changes = queue->take(milliseconds(0));
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].kind == CacheChange::Kind::kStored);
  CHECK(changes[0].tenant == "red");
  CHECK_FALSE(changes[0].parent);
  REQUIRE(changes[0].blocks.size() == 1);
  CHECK((changes[0].tokens == std::vector<TokenId>{1, 2}));
  CHECK(changes[1].parent == changes[0].blocks[0]);
  REQUIRE(changes[1].blocks.size() == 2);
  CHECK((changes[1].tokens == std::vector<TokenId>{3, 4, 5, 6}));

  table.truncate(0);
  lock.release();
  tree.evict(2);
  journal.flush(tree);
  const std::vector<CacheChange> removed = queue->take(milliseconds(0));
  REQUIRE(removed.size() == 1);
  CHECK(removed[0].kind == CacheChange::Kind::kRemoved);
  CHECK(removed[0].tenant == "red");
  CHECK((removed[0].blocks == std::vector<BlockHash>{changes[1].blocks[1], changes[1].blocks[0]}));
}

TEST_CASE("the queue takes all of a step's changes or none, and never waits", "[cache_journal]") {
  CacheChangeQueue queue;
  const auto change = [](std::size_t blocks) {
    return std::vector<CacheChange>{
        {.kind = CacheChange::Kind::kRemoved, .tenant = {}, .parent = {}, .blocks = std::vector<BlockHash>(blocks, 7)}};
  };
  CHECK_FALSE(queue.append(change(1)));  // no journal has made room
  queue.make_room(4);
  CHECK(queue.append(change(3)));
  CHECK_FALSE(queue.append(change(2)));
  CHECK(queue.append(change(1)));
  CHECK(queue.take(milliseconds(0)).size() == 2);
  CHECK(queue.is_empty());
  CHECK(queue.append(change(4)));
  queue.close();
  CHECK(queue.is_closed());
  CHECK(queue.take(milliseconds(10'000)).size() == 1);
  CHECK(queue.take(milliseconds(10'000)).empty());  // at once
}

// What a reader makes of the changes. It is strict: nothing is stored twice, removed when unknown, or hangs on nothing.
class Reader {
 public:
  void read(const std::vector<CacheChange>& changes) {
    for (const CacheChange& change : changes) {
      if (change.kind == CacheChange::Kind::kCleared) {
        blocks_.clear();
        ++clears_;
      } else if (change.kind == CacheChange::Kind::kRemoved) {
        for (const BlockHash block : change.blocks) {
          REQUIRE(blocks_.erase(block) == 1);
        }
      } else {
        store(change);
      }
    }
  }
  // Of each block: all tokens up to its end.
  std::set<std::string> prefixes() const {
    std::set<std::string> all;
    for (const auto& [hash, text] : blocks_) {
      all.insert(text);
    }
    REQUIRE(all.size() == blocks_.size());
    return all;
  }
  int clears() const { return clears_; }

 private:
  void store(const CacheChange& change) {
    REQUIRE(change.tokens.size() == change.blocks.size() * kPageSize);
    std::string text = change.tenant + ':';
    if (change.parent) {
      REQUIRE(blocks_.count(*change.parent) == 1);
      text = blocks_[*change.parent];
    }
    std::size_t token = 0;
    for (const BlockHash block : change.blocks) {
      for (std::int32_t i = 0; i < kPageSize; ++i) {
        text += static_cast<char>('a' + change.tokens[token++]);
      }
      REQUIRE(blocks_.emplace(block, text).second);
    }
  }

  std::map<BlockHash, std::string> blocks_;
  int clears_ = 0;
};

// Of each page of the tree: all tokens up to its end, by the tree's own nodes.
std::set<std::string> prefixes_of(const RadixTree& tree) {
  std::set<std::string> all;
  for (RadixNodeId node = 0; node < tree.nodes().count(); ++node) {
    if (!tree.nodes()[node].live) {
      continue;
    }
    std::vector<RadixNodeId> path;
    RadixNodeId root = node;
    for (; !tree.nodes()[root].is_root(); root = tree.nodes()[root].parent) {
      path.push_back(root);
    }
    std::string text(tree.tenant_of(root));
    text += ':';
    for (auto step = path.rbegin(); step != path.rend(); ++step) {
      for (PageId page = tree.nodes()[*step].first_page; page != kNoPage; page = tree.nodes().next(page)) {
        for (const TokenId token : tree.nodes().tokens_of(page)) {
          text += static_cast<char>('a' + token);
        }
        all.insert(text);
      }
    }
  }
  return all;
}

// Random paths come and go. `reads_every`: how often the reader looks; in between its queue may overflow.
int run_world(std::uint32_t seed, std::uint32_t reads_every) {
  constexpr int kOperations = 3000;
  KvPool pool(24, kPageSize);
  const auto queue = std::make_shared<CacheChangeQueue>();
  CacheJournal journal(queue, pool);
  RadixTree tree(pool, {}, &journal);
  std::mt19937 random(seed);
  Reader reader;
  for (int i = 0; i < kOperations; ++i) {
    const std::string tenant = random() % 8 == 0 ? "other" : "";
    std::vector<TokenId> tokens(kPageSize * (random() % 8 + 1));
    for (TokenId& token : tokens) {
      token = random() % 4 == 0 ? 1 : 0;
    }
    {
      PageTable table(pool);
      RadixLock lock = tree.match(tenant, tokens, table);
      const auto pages = static_cast<std::int32_t>(tokens.size()) / kPageSize;
      tree.evict(pages - table.size() - pool.free_pages());
      while (table.size() < pages) {
        table.append(pool.allocate());
      }
      tree.extend(lock, tokens, table);
      table.truncate(0);
    }
    tree.evict(static_cast<std::int32_t>(random() % 3));
    journal.flush(tree);
    if (random() % reads_every == 0) {
      reader.read(queue->take(milliseconds(0)));
      journal.flush(tree);  // where it was behind, it begins anew now that the queue is empty
      reader.read(queue->take(milliseconds(0)));
      REQUIRE(reader.prefixes() == prefixes_of(tree));
    }
  }
  return reader.clears();
}

TEST_CASE("what is lost behind the queue has the next changes refused, once", "[cache_journal]") {
  CacheChangeQueue queue;
  queue.make_room(4);
  queue.mark_lost();
  CHECK_FALSE(queue.append({CacheChange()}));
  CHECK(queue.append({CacheChange()}));
}

TEST_CASE("a reader of the changes knows what the tree holds", "[cache_journal]") {
  CHECK(run_world(1, 1) == 0);
}

TEST_CASE("a reader that falls behind is told everything anew", "[cache_journal]") {
  CHECK(run_world(2, 20) > 10);
}

}  // namespace
}  // namespace coppice::engine
