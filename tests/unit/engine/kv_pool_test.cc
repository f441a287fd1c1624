// Pages: taken, shared, moved, given back; never twice, never lost.
#include "engine/kv_pool.h"

#include <catch2/catch.hpp>
#include <utility>

namespace coppice::engine {

TEST_CASE("a page is free again when its last reference goes", "[kv_pool]") {
  KvPool pool(2, 16);
  PageRef first = pool.allocate();
  CHECK(first.held());
  CHECK(first.id() == 0);
  CHECK(pool.free_pages() == 1);
  {
    const PageRef again = pool.share(first.id());
    CHECK(pool.references(first.id()) == 2);
  }
  CHECK(pool.references(first.id()) == 1);
  PageRef moved = std::move(first);
  CHECK_FALSE(first.held());  // NOLINT(bugprone-use-after-move): that is what is tested
  CHECK(pool.free_pages() == 1);
  moved.reset();
  CHECK(pool.free_pages() == 2);
}

TEST_CASE("an empty pool gives an empty reference", "[kv_pool]") {
  KvPool pool(1, 16);
  const PageRef only = pool.allocate();
  CHECK_FALSE(pool.allocate().held());
}

TEST_CASE("a reference that is overwritten is given up", "[kv_pool]") {
  KvPool pool(2, 16);
  PageRef reference = pool.allocate();
  reference = pool.allocate();
  CHECK(pool.free_pages() == 1);
  CHECK(reference.id() == 1);
}

TEST_CASE("a page table holds what is put in it", "[kv_pool]") {
  KvPool pool(4, 16);
  {
    PageTable table(pool);
    table.append(pool.allocate());
    table.append(pool.allocate());
    PageTable sharer(pool);
    sharer.append(pool.share(table[0]));
    table.replace(0, pool.allocate());
    CHECK(pool.references(sharer[0]) == 1);
    CHECK(table.size() == 2);
    table.truncate(1);
    CHECK(pool.free_pages() == 2);
    PageTable moved = std::move(table);
    CHECK(moved.size() == 1);
    moved = std::move(sharer);
    CHECK(pool.free_pages() == 3);
  }
  CHECK(pool.free_pages() == 4);
}

TEST_CASE("pages_for rounds up", "[kv_pool]") {
  const KvPool pool(1, 16);
  CHECK(pool.pages_for(0) == 0);
  CHECK(pool.pages_for(1) == 1);
  CHECK(pool.pages_for(16) == 1);
  CHECK(pool.pages_for(17) == 2);
}

}  // namespace coppice::engine
