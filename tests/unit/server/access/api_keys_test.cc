// API keys: the file's format and who gets in.
#include "server/access/api_keys.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <string>

namespace coppice::server {
namespace {

absl::StatusOr<ApiKeys> load_text(const std::string& text) {
  const std::string path = std::string(std::tmpnam(nullptr)) + ".keys";
  std::ofstream(path) << text;
  absl::StatusOr<ApiKeys> keys = ApiKeys::load(path);
  std::remove(path.c_str());
  return keys;
}

TEST_CASE("keys of a file, each with its tenant") {
  const absl::StatusOr<ApiKeys> keys = load_text("# team\n\nfirst-key-1\r\nsecond-key \n");
  REQUIRE(keys.ok());
  CHECK(keys->required());
  CHECK(keys->tenant("first-key-1") == "key0");
  CHECK(keys->tenant("second-key") == "key1");
  for (const char* const wrong : {"", "first-key-", "first-key-11", "# team", "FIRST-KEY-1"}) {
    CHECK_FALSE(keys->tenant(wrong).has_value());
  }
}

TEST_CASE("the Authorization header") {
  const absl::StatusOr<ApiKeys> keys = load_text("first-key-1\n");
  REQUIRE(keys.ok());
  CHECK(keys->tenant_of_bearer("Bearer first-key-1") == "key0");
  CHECK(keys->tenant_of_bearer("bearer first-key-1") == "key0");
  for (const char* const wrong : {"", "Bearer", "Bearer ", "first-key-1", "Basic first-key-1", "Bearer  first-key-1",
                                  "Bearer first-key-1 ", "Bearerfirst-key-1"}) {
    INFO(wrong);
    CHECK_FALSE(keys->tenant_of_bearer(wrong).has_value());
  }
}

TEST_CASE("files that cannot be key files") {
  CHECK(ApiKeys::load("/no/such/file").status().code() == absl::StatusCode::kNotFound);
  for (const char* const text : {"", "# only a comment\n", "short\n", "with space in it\n", "tab\tinside-key\n"}) {
    INFO(text);
    const absl::StatusOr<ApiKeys> keys = load_text(text);
    CHECK(keys.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(keys.status().message()), Catch::Contains("--api-key-file"));
  }
  CHECK_THAT(std::string(load_text("good-key-1\nbad\n").status().message()), Catch::Contains("line 2"));
}

TEST_CASE("without a file no caller needs a key") {
  CHECK_FALSE(ApiKeys().required());
}

}  // namespace
}  // namespace coppice::server
