// Hashes against known ones: sha256sum and git hash-object.
#include "server/hub/content_hash.h"

#include <catch2/catch.hpp>

namespace coppice::server {
namespace {

TEST_CASE("hashes are those of sha256sum and of git hash-object") {
  ContentHash sha(HashKind::kSha256, 6);
  sha.add("hel");
  sha.add("lo\n");
  CHECK(sha.finish() == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  ContentHash blob(HashKind::kGitBlob, 6);
  blob.add("hello\n");
  CHECK(blob.finish() == "ce013625030ba8dba906f756967f9e9ca394464a");
  CHECK(ContentHash(HashKind::kGitBlob, 0).finish() == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

}  // namespace
}  // namespace coppice::server
