// The prefix cache against a map that remembers every cached prefix by its whole text: a million random operations,
// with the tree's own invariants checked after each; and the cases one would draw on paper. Some prefixes are kept for
// a time: the map knows until when.
#include "engine/radix_tree.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include "tests/support/sanitized.h"

using coppice::PageId;
using coppice::TokenId;
using coppice::engine::KeepLimits;
using coppice::engine::KeptPrefixes;
using coppice::engine::KvPool;
using coppice::engine::PageRef;
using coppice::engine::PageTable;
using coppice::engine::RadixLock;
using coppice::engine::RadixTree;

namespace {

constexpr int kOperations = coppice::test::kIsSanitized ? 60'000 : 1'000'000;

constexpr std::int32_t kPageSize = 2;

// A sequence as the engine would hold it: members in the order that destroys the lock before the table's references.
struct Reader {
  Reader(KvPool& pool, std::string tenant_name) : tenant(std::move(tenant_name)), table(pool) {}
  std::string tenant;
  std::vector<TokenId> tokens;  // whole pages, locked
  PageTable table;
  RadixLock lock;
};

class World {
 public:
  explicit World(std::uint32_t seed, const KeepLimits& keep_limits = {40, 40})
      : random_(seed), keep_limits_(keep_limits), tree_(pool_, keep_limits) {}
  ~World() { readers_.clear(); }

  void run(int operations) {
    for (int i = 0; i < operations; ++i) {
      step();
      tree_.check_integrity();
      if (i % 16 == 0) {
        compare();
      }
    }
    readers_.clear();
    tree_.check_integrity();
    compare();
    REQUIRE(tree_.evict(std::numeric_limits<std::int32_t>::max()) == static_cast<std::int32_t>(cached_.size()));
    REQUIRE(pool_.free_pages() == pool_.pages());
    REQUIRE(tree_.pages() == 0);
    REQUIRE(tree_.kept().empty());
    tree_.check_integrity();
  }

  int hits() const { return hits_; }
  int replacements() const { return replacements_; }
  int evictions() const { return evictions_; }
  int kept_evictions() const { return kept_evictions_; }
  int ends() const { return ends_; }

 private:
  struct Keep {
    KeptPrefixes::TimePoint until;
    KeptPrefixes::Duration time;
  };
  struct Cached {
    PageId page;
    std::uint64_t last_use;
  };

  std::uint32_t draw(std::uint32_t below) {
    return std::uniform_int_distribution<std::uint32_t>(0, below - 1)(random_);
  }

  static std::string key_of(const std::string& tenant, std::span<const TokenId> tokens) {
    std::string key = tenant + ':';
    for (const TokenId token : tokens) {
      key += static_cast<char>('a' + token);
    }
    return key;
  }

  void step() {
    const std::uint32_t kind = draw(12);
    if (readers_.size() < 6 && (readers_.empty() || kind < 3)) {
      begin();
    } else if (kind < 6) {
      extend(*readers_[draw(static_cast<std::uint32_t>(readers_.size()))]);
    } else if (kind == 6 && readers_.size() < 6) {
      fork(*readers_[draw(static_cast<std::uint32_t>(readers_.size()))]);
    } else if (kind < 9) {
      leave(draw(static_cast<std::uint32_t>(readers_.size())));
    } else if (kind == 9) {
      evict(static_cast<std::int32_t>(draw(6)));
    } else if (kind == 10) {
      keep(*readers_[draw(static_cast<std::uint32_t>(readers_.size()))]);
    } else {
      pass_time();
    }
  }

  bool keeps_all() const { return keep_limits_.account_pages == pool_.pages(); }

  void keep(const Reader& reader) {
    const std::int32_t path = reader.lock.token_count() / kPageSize;
    if (path == 0) {
      return;
    }
    const std::int32_t pages = static_cast<std::int32_t>(draw(static_cast<std::uint32_t>(path))) + 1;
    const KeptPrefixes::Duration time{draw(400) + 1};
    tree_.keep(reader.lock, pages, reader.tenant, time);
    const std::string key = key_of(reader.tenant, {reader.tokens.data(), static_cast<std::size_t>(pages * kPageSize)});
    join(key, {now_ + time, time});
  }

  void join(const std::string& key, const Keep& keep) {
    Keep& entry = keeps_.try_emplace(key, keep).first->second;
    entry = {std::max(entry.until, keep.until), std::max(entry.time, keep.time)};
  }

  void pass_time() {
    now_ += KeptPrefixes::Duration(draw(50));
    tree_.set_time(now_);
    ends_ += static_cast<int>(std::erase_if(keeps_, [this](const auto& entry) { return entry.second.until <= now_; }));
  }

  // Every cached prefix that is, or begins, a kept one.
  std::set<std::string> kept() const {
    std::set<std::string> keys;
    for (const auto& [key, keep] : keeps_) {
      for (std::string prefix = key; prefix.back() != ':'; prefix.resize(prefix.size() - kPageSize)) {
        keys.insert(prefix);
      }
    }
    return keys;
  }

  // What was kept and is evicted is kept as far as it is still cached.
  void shorten_keeps() {
    std::map<std::string, Keep> before;
    before.swap(keeps_);
    for (const auto& [key, keep] : before) {
      std::string prefix = key;
      while (prefix.back() != ':' && !cached_.contains(prefix)) {
        prefix.resize(prefix.size() - kPageSize);
      }
      if (prefix.back() != ':') {
        join(prefix, keep);
      }
    }
  }

  std::vector<TokenId> random_tokens(std::uint32_t count) {
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) {
      token = draw(4) == 0 ? 1 : 0;  // long runs in common
    }
    return tokens;
  }

  void begin() {
    auto reader = std::make_unique<Reader>(pool_, std::string(draw(8) == 0 ? "other" : ""));
    const std::vector<TokenId> wanted = random_tokens(draw(20));
    const std::int32_t peeked = tree_.peek(reader->tenant, wanted);
    reader->lock = tree_.match(reader->tenant, wanted, reader->table);
    std::size_t expected = 0;
    while (expected + kPageSize <= wanted.size()) {
      const auto found = cached_.find(key_of(reader->tenant, {wanted.data(), expected + kPageSize}));
      if (found == cached_.end()) {
        break;
      }
      REQUIRE(reader->table[static_cast<std::int32_t>(expected) / kPageSize] == found->second.page);
      expected += kPageSize;
    }
    REQUIRE(static_cast<std::size_t>(reader->table.size()) * kPageSize == expected);
    REQUIRE(reader->lock.token_count() == static_cast<std::int32_t>(expected));
    REQUIRE(peeked == static_cast<std::int32_t>(expected));
    hits_ += expected > 0 ? 1 : 0;
    reader->tokens.assign(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(expected));
    renew(*reader);
    readers_.push_back(std::move(reader));
  }

  void renew(const Reader& reader) {
    const std::string path = key_of(reader.tenant, reader.tokens);
    for (auto& [key, keep] : keeps_) {
      keep.until = path.starts_with(key) ? std::max(keep.until, now_ + keep.time) : keep.until;
    }
  }

  void extend(Reader& reader) {
    const std::uint32_t pages = draw(4);
    for (const TokenId token : random_tokens(pages * kPageSize)) {
      reader.tokens.push_back(token);
    }
    for (std::uint32_t i = 0; i < pages; ++i) {
      PageRef page = pool_.allocate();
      if (!page.held()) {
        evict(1);
        page = pool_.allocate();
      }
      if (!page.held()) {  // everything is locked: as much as there are pages for
        reader.tokens.resize(static_cast<std::size_t>(reader.table.size()) * kPageSize);
        break;
      }
      reader.table.append(std::move(page));
    }
    const std::int32_t before = reader.lock.token_count();
    std::int32_t expected = 0;
    std::vector<PageId> mine(reader.table.ids().begin(), reader.table.ids().end());
    const std::int32_t replaced = tree_.extend(reader.lock, reader.tokens, reader.table);
    for (std::size_t end = static_cast<std::size_t>(before) + kPageSize; end <= reader.tokens.size();
         end += kPageSize) {
      const std::size_t index = end / kPageSize - 1;
      const PageId now = reader.table[static_cast<std::int32_t>(index)];
      const auto [entry, fresh] =
          cached_.try_emplace(key_of(reader.tenant, {reader.tokens.data(), end}), Cached{now, 0});
      REQUIRE(now == entry->second.page);
      REQUIRE((fresh ? now == mine[index] : true));
      expected += now == mine[index] ? 0 : 1;
    }
    REQUIRE(replaced == expected);
    replacements_ += replaced;
    REQUIRE(reader.lock.token_count() == static_cast<std::int32_t>(reader.tokens.size()));
  }

  void fork(const Reader& from) {
    auto reader = std::make_unique<Reader>(pool_, from.tenant);
    reader->tokens = from.tokens;
    reader->lock = tree_.match(from.tenant, from.tokens, reader->table);
    REQUIRE(std::ranges::equal(reader->table.ids(), from.table.ids()));
    renew(*reader);
    readers_.push_back(std::move(reader));
  }

  void leave(std::uint32_t index) {
    ++clock_;
    const Reader& reader = *readers_[index];
    for (std::size_t end = kPageSize; end <= reader.tokens.size(); end += kPageSize) {
      cached_.at(key_of(reader.tenant, {reader.tokens.data(), end})).last_use = clock_;
    }
    readers_.erase(readers_.begin() + index);
  }

  // Every cached prefix that no reader's path covers.
  std::set<std::string> unlocked() const {
    std::set<std::string> keys;
    for (const auto& [key, entry] : cached_) {
      const bool locked = std::any_of(readers_.begin(), readers_.end(), [&key = key](const auto& reader) {
        const auto held = static_cast<std::size_t>(reader->lock.token_count());
        return key_of(reader->tenant, {reader->tokens.data(), held}).compare(0, key.size(), key) == 0;
      });
      if (!locked) {
        keys.insert(key);
      }
    }
    return keys;
  }

  void evict(std::int32_t count) {
    const auto evictable = static_cast<std::int32_t>(unlocked().size());
    REQUIRE(tree_.evictable_pages() == evictable);
    const std::set<std::string> protected_keys = kept();
    REQUIRE(tree_.evict(count) == std::min(count, evictable));
    std::uint64_t newest_gone = 0;
    bool takes_kept = false;
    for (auto entry = cached_.begin(); entry != cached_.end();) {
      if (pool_.references(entry->second.page) == 0) {
        if (protected_keys.contains(entry->first)) {
          ++kept_evictions_;
          takes_kept = true;
        } else {
          newest_gone = std::max(newest_gone, entry->second.last_use);
        }
        entry = cached_.erase(entry);
        ++evictions_;
      } else {
        ++entry;
      }
    }
    if (!keeps_all()) {
      return;  // the tree keeps less than the map knows
    }
    for (const std::string& key : unlocked()) {  // what is left at the ends of the tree is no older than what went
      const auto next = cached_.upper_bound(key);
      const bool leaf = next == cached_.end() || next->first.compare(0, key.size(), key) != 0;
      const bool is_kept = protected_keys.contains(key);
      REQUIRE((!leaf || is_kept || cached_.at(key).last_use >= newest_gone));
      REQUIRE((is_kept || !takes_kept));  // kept pages go when no others can
    }
    shorten_keeps();
  }

  void compare() const {
    if (keeps_all()) {
      REQUIRE(tree_.kept().pages() == static_cast<std::int32_t>(kept().size()));
    }
    for (const std::string& account : {std::string(), std::string("other")}) {
      REQUIRE(tree_.kept().pages_of(account) <= keep_limits_.account_pages);
    }
    REQUIRE(tree_.pages() == static_cast<std::int32_t>(cached_.size()));
    REQUIRE(tree_.evictable_pages() == static_cast<std::int32_t>(unlocked().size()));
    std::vector<PageId> pages;
    tree_.append_pages(pages);
    std::sort(pages.begin(), pages.end());
    std::vector<PageId> expected;
    for (const auto& [key, entry] : cached_) {
      expected.push_back(entry.page);
    }
    std::sort(expected.begin(), expected.end());
    REQUIRE(pages == expected);
  }

  std::mt19937 random_;
  const KeepLimits keep_limits_;
  KvPool pool_{40, kPageSize};
  RadixTree tree_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::map<std::string, Cached> cached_;
  std::map<std::string, Keep> keeps_;  // by the whole text that is kept
  KeptPrefixes::TimePoint now_{};
  std::uint64_t clock_ = 0;
  int kept_evictions_ = 0;
  int ends_ = 0;
  int hits_ = 0;
  int replacements_ = 0;
  int evictions_ = 0;
};

void add_pages(KvPool& pool, PageTable& table, std::int32_t count) {
  for (std::int32_t i = 0; i < count; ++i) {
    table.append(pool.allocate());
  }
}

}  // namespace

TEST_CASE("a million random operations agree with a map of all prefixes", "[radix_tree]") {
  int hits = 0;
  int replacements = 0;
  int evictions = 0;
  int kept_evictions = 0;
  int ends = 0;
  for (std::uint32_t seed = 1; seed <= 10; ++seed) {
    World world(seed);
    world.run(kOperations / 10);
    hits += world.hits();
    replacements += world.replacements();
    evictions += world.evictions();
    kept_evictions += world.kept_evictions();
    ends += world.ends();
  }
  CHECK(kept_evictions > kOperations / 200);
  CHECK(ends > kOperations / 200);
  CHECK(hits > kOperations / 50);
  CHECK(replacements > kOperations / 50);
  CHECK(evictions > kOperations / 50);
}

TEST_CASE("kept pages stay within the limits of an account and of all", "[radix_tree]") {
  for (const KeepLimits& limits : {KeepLimits{5, 7}, KeepLimits{1, 1}, KeepLimits{10, 10}}) {
    World world(30, limits);
    world.run(kOperations / 20);
  }
}

TEST_CASE("a newcomer splits an edge; the first reader's path stays", "[radix_tree]") {
  KvPool pool(16, 2);
  RadixTree tree(pool);
  PageTable first(pool);
  RadixLock lock = tree.match("", {}, first);
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  add_pages(pool, first, 4);
  CHECK(tree.extend(lock, tokens, first) == 0);

  PageTable second(pool);
  const std::vector<TokenId> other = {1, 2, 3, 4, 9, 9};
  RadixLock other_lock = tree.match("", other, second);
  CHECK(second.size() == 2);
  CHECK(second[1] == first[1]);
  tree.check_integrity();

  add_pages(pool, first, 1);
  const std::vector<TokenId> longer = {1, 2, 3, 4, 5, 6, 7, 8, 10, 11};
  CHECK(tree.extend(lock, longer, first) == 0);
  CHECK(tree.peek("", longer) == 10);
  CHECK(tree.evict(100) == 0);
  lock.release();
  first.truncate(0);
  CHECK(tree.evictable_pages() == 3);
  CHECK(tree.evict(1) == 1);
  CHECK(tree.peek("", longer) == 8);
  other_lock.release();
  second.truncate(0);
  CHECK(tree.evict(100) == 4);
  CHECK(pool.free_pages() == 16);
}

TEST_CASE("tenants never see each other", "[radix_tree]") {
  KvPool pool(8, 2);
  RadixTree tree(pool);
  const std::vector<TokenId> tokens = {5, 6, 7, 8};
  {
    PageTable table(pool);
    RadixLock lock = tree.match("red", tokens, table);
    add_pages(pool, table, 2);
    tree.extend(lock, tokens, table);
    lock.release();
  }
  CHECK(tree.peek("red", tokens) == 4);
  CHECK(tree.peek("blue", tokens) == 0);
  CHECK(tree.peek("", tokens) == 0);
  PageTable table(pool);
  RadixLock lock = tree.match("blue", tokens, table);
  CHECK(table.empty());
  lock.release();
  tree.check_integrity();
}

TEST_CASE("who computes a prefix second gets the first one's pages", "[radix_tree]") {
  KvPool pool(8, 2);
  RadixTree tree(pool);
  const std::vector<TokenId> tokens = {5, 6, 7, 8};
  PageTable first(pool);
  PageTable second(pool);
  RadixLock first_lock = tree.match("", tokens, first);
  RadixLock second_lock = tree.match("", tokens, second);
  add_pages(pool, first, 2);
  add_pages(pool, second, 2);
  CHECK(tree.extend(first_lock, tokens, first) == 0);
  CHECK(pool.free_pages() == 4);
  CHECK(tree.extend(second_lock, tokens, second) == 2);
  CHECK(pool.free_pages() == 6);
  CHECK(std::equal(first.ids().begin(), first.ids().end(), second.ids().begin(), second.ids().end()));
  first_lock.release();
  second_lock.release();
}

// Run by hand: radix_tree_test "[.speed]". Not part of the test run: it asserts nothing about time.
TEST_CASE("match and extend, per token, at a million cached tokens", "[.speed]") {
  constexpr std::int32_t kPages = 1 << 16;
  constexpr std::int32_t kPathPages = 128;
  KvPool pool(kPages + 256, 16);
  RadixTree tree(pool);
  std::mt19937 random(1);
  std::vector<std::vector<TokenId>> paths(kPages / kPathPages);
  double extend_s = 0;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    paths[i].resize(kPathPages * 16);
    for (std::size_t t = 0; t < paths[i].size(); ++t) {
      paths[i][t] = t < 512 ? static_cast<TokenId>(t + i % 8) : static_cast<TokenId>(random() % 32000);
    }
    PageTable table(pool);
    RadixLock lock = tree.match("", paths[i], table);
    add_pages(pool, table, kPathPages - table.size());
    const auto begin = std::chrono::steady_clock::now();
    tree.extend(lock, paths[i], table);
    extend_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    lock.release();
  }
  const double tokens = static_cast<double>(paths.size()) * kPathPages * 16;
  std::shuffle(paths.begin(), paths.end(), random);
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& path : paths) {
    PageTable table(pool);
    RadixLock lock = tree.match("", path, table);
    REQUIRE(table.size() == kPathPages);
    lock.release();
  }
  const double match_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  WARN("cached tokens " << tree.pages() * 16 << ": match + release " << match_s / tokens * 1e9 << " ns a token, extend "
                        << extend_s / tokens * 1e9 << " ns a token");
}
