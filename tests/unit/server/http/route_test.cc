// Patterns of paths and parameters of queries.
#include "server/http/route.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

using Parts = std::vector<std::string>;

// What stands for the names, or {"no match"}.
Parts match(std::string_view pattern, std::string_view path) {
  Parts parts;
  return matches_path(pattern, path, parts) ? parts : Parts{"no match"};
}

TEST_CASE("a pattern's names stand for one segment, or for the rest") {
  const Parts none = {"no match"};
  CHECK(match("/v1/files", "/v1/files") == Parts{});
  CHECK(match("/v1/files", "/v1/files/") == none);
  CHECK(match("/v1/files", "/v1/file") == none);
  CHECK(match("/", "/") == Parts{});
  CHECK(match("/", "") == none);
  CHECK(match("/a/{x}", "/a/b") == Parts{"b"});
  CHECK(match("/a/{x}", "/a/b%2Fc%zz") == Parts{"b/c%zz"});
  CHECK(match("/a/{x}", "/a/") == none);
  CHECK(match("/a/{x}", "/a/b/c") == none);
  CHECK(match("/a/{x}/c", "/a/b/c") == Parts{"b"});
  CHECK(match("/a/{x}/c", "/a/b/d") == none);
  CHECK(match("/a/{x}/c", "/a//c") == none);
  CHECK(match("/a/{x...}", "/a/b/c/") == Parts{"b/c/"});
  CHECK(match("/a/{x...}", "/a/") == none);
  Parts parts = {"kept"};
  CHECK_FALSE(matches_path("/a/{x}/c", "/a/b/d", parts));
  CHECK(parts == Parts{"kept"});
}

TEST_CASE("no two rows of the table take the same request") {
  const std::span<const Route> routes = all_routes();
  for (std::size_t i = 0; i < routes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      INFO(routes[i].method << " " << routes[i].path << " and " << routes[j].path);
      CHECK_FALSE((routes[i].method == routes[j].method && routes[i].path == routes[j].path));
    }
  }
}

}  // namespace
}  // namespace coppice::server
