// API keys: the file's format and who gets in.
#include "server/access/api_keys.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

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
  CHECK(keys->tenant("first-key-1") == tenant_of_key("first-key-1"));
  CHECK(keys->tenant("second-key") == tenant_of_key("second-key"));
  for (const char* const wrong : {"", "first-key-", "first-key-11", "# team", "FIRST-KEY-1"}) {
    CHECK_FALSE(keys->tenant(wrong).has_value());
  }
}

TEST_CASE("the Authorization header") {
  const absl::StatusOr<ApiKeys> keys = load_text("first-key-1\n");
  REQUIRE(keys.ok());
  CHECK(keys->tenant_of_bearer("Bearer first-key-1") == tenant_of_key("first-key-1"));
  CHECK(keys->tenant_of_bearer("bearer first-key-1") == tenant_of_key("first-key-1"));
  for (const char* const wrong : {"", "Bearer", "Bearer ", "first-key-1", "Basic first-key-1", "Bearer  first-key-1",
                                  "Bearer first-key-1 ", "Bearerfirst-key-1"}) {
    INFO(wrong);
    CHECK_FALSE(keys->tenant_of_bearer(wrong).has_value());
  }
}

TEST_CASE("files that cannot be key files") {
  CHECK(ApiKeys::load("/no/such/file").status().code() == absl::StatusCode::kNotFound);
  CHECK(ApiKeys::load("/dev/zero").status().code() == absl::StatusCode::kInvalidArgument);
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
  CHECK(ApiKeys().shares() == 1);
}

TEST_CASE("a tenant's name comes from its key alone, wherever the key stands") {
  const absl::StatusOr<ApiKeys> one = load_text("first-key-1\nsecond-key\n");
  const absl::StatusOr<ApiKeys> other = load_text("a-new-key-before\nsecond-key\nfirst-key-1\nfirst-key-1\n");
  REQUIRE(one.ok());
  REQUIRE(other.ok());
  CHECK(one->tenant("second-key") == other->tenant("second-key"));
  CHECK(one->tenant("first-key-1") == other->tenant("first-key-1"));
  CHECK(other->tenant("a-new-key-before") != one->tenant("first-key-1"));
  // printf 'coppice tenant 1:%s' second-key | sha256sum | cut -c1-16
  CHECK(tenant_of_key("second-key") == "key-72671a0605e3ca7e");
}

TEST_CASE("which tenants are known") {
  const absl::StatusOr<ApiKeys> keys = load_text("first-key-1\nsecond-key\n");
  REQUIRE(keys.ok());
  const std::string name = tenant_of_key("first-key-1");
  for (const std::string& known : {name, tenant_of(name, "salt"), tenant_of(name, "a|b"), tenant_of(name, "|")}) {
    INFO(known);
    CHECK(keys->is_known(known));
    CHECK(key_part(known) == name);
    CHECK_FALSE(ApiKeys().is_known(known));
  }
  for (const std::string& unknown : {std::string(), std::string("key0"), tenant_of("", name), tenant_of("", "s"),
                                     tenant_of_key("third-key"), name.substr(1), name + "0", std::string("|")}) {
    INFO(unknown);
    CHECK_FALSE(keys->is_known(unknown));
  }
  CHECK(ApiKeys().is_known(""));
  CHECK(ApiKeys().is_known(tenant_of("", name)));  // a salt, whatever it looks like
  CHECK_FALSE(ApiKeys().is_known("key0"));
}

TEST_CASE("salts make no two tenants one") {
  const std::string a = tenant_of_key("first-key-1");
  const std::string b = tenant_of_key("second-key");
  const std::vector<std::pair<std::string, std::string>> callers = {
      {a, ""},      {b, ""},       {"", ""}, {"", a},  {"", a + "|x"}, {a, b},
      {a, "|" + b}, {a, b + "|x"}, {b, a},   {b, "x"}, {a, "x"}};
  std::set<std::string> names;
  for (const auto& [key, salt] : callers) {
    CHECK(names.insert(tenant_of(key, salt)).second);
    CHECK(key_part(tenant_of(key, salt)) == key);
  }
}

TEST_CASE("keys are replaced while they are in use") {
  absl::StatusOr<ApiKeys> keys = load_text("first-key-1\nsecond-key\n");
  REQUIRE(keys.ok());
  CHECK(keys->shares() == 2);
  CHECK(keys->replace(std::move(load_text("second-key\nthird-key\nfourth-key\n").value())) ==
        std::vector<std::string>{tenant_of_key("first-key-1")});
  CHECK(keys->shares() == 3);
  CHECK_FALSE(keys->tenant("first-key-1").has_value());
  CHECK(keys->tenant("second-key") == tenant_of_key("second-key"));
  CHECK(keys->tenant("third-key").has_value());
}

}  // namespace
}  // namespace coppice::server
