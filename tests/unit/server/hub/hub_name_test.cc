// Names on the Hub, and what a server's names of files may be.
#include "server/hub/hub_name.h"

#include <catch2/catch.hpp>
#include <string>

namespace coppice::server {
namespace {

TEST_CASE("a name has an owner, and may have a revision and a quant") {
  const auto plain = parse_hub_name("HuggingFaceTB/SmolLM2-135M-Instruct");
  REQUIRE(plain.has_value());
  CHECK(plain->owner == "HuggingFaceTB");
  CHECK(plain->name == "SmolLM2-135M-Instruct");
  CHECK(plain->revision == "main");
  CHECK(plain->quant.empty());
  CHECK(plain->served_name() == "HuggingFaceTB/SmolLM2-135M-Instruct");

  const auto whole = parse_hub_name("bartowski/Qwen_2.5-GGUF@refs/pr/3:Q4_K_M");
  REQUIRE(whole.has_value());
  CHECK(whole->repository() == "bartowski/Qwen_2.5-GGUF");
  CHECK(whole->revision == "refs/pr/3");
  CHECK(whole->quant == "Q4_K_M");
  CHECK(whole->served_name() == "bartowski/Qwen_2.5-GGUF:Q4_K_M");
}

TEST_CASE("what is no name on the Hub") {
  const char* const text =
      GENERATE("", "a", "/", "a/", "/a", "a/b/c", "../b", "a/..", "./a", "a/.b", "a/b.", "-a/b", "a/b-", "a--x/b",
               "a/b--c", "a/b..c", "a b/c", "a/b:", "a/b@", "a/b@:Q4", "a/b@../x", "a/b@x/../y", "a/b@x..y", "a/b@-x",
               "a/b@/x", "a/b@x/", "a/b@x y", "a/b:Q4/x", "a/b:Q4:Q5", "a/b@x@y", "ä/b", "a/b\n", "~/b", "C:\\a/b");
  CAPTURE(text);
  CHECK_FALSE(parse_hub_name(text).has_value());
}

TEST_CASE("a name has a length that the Hub takes") {
  CHECK(parse_hub_name("a/" + std::string(94, 'b')).has_value());
  CHECK_FALSE(parse_hub_name("a/" + std::string(95, 'b')).has_value());
  CHECK_FALSE(parse_hub_name("a/b@" + std::string(201, 'c')).has_value());
  CHECK_FALSE(parse_hub_name("a/b:" + std::string(65, 'c')).has_value());
}

TEST_CASE("paths that stay in their folder") {
  for (const char* const path : {"a", "a/b", ".gitattributes", "..a", "a..", "1_Pooling/config.json", "ö/ü"}) {
    CAPTURE(path);
    CHECK(is_safe_path(path));
  }
  for (const char* const path :
       {"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", "a\\b", "a\nb", "\x7f"}) {
    CAPTURE(path);
    CHECK_FALSE(is_safe_path(path));
  }
  CHECK_FALSE(is_safe_path(std::string("a\0b", 3)));
  CHECK_FALSE(is_safe_path(std::string(241, 'a')));
  std::string deep = "a";
  while (deep.size() <= 1024) {
    deep += "/a";
  }
  CHECK_FALSE(is_safe_path(deep));
}

TEST_CASE("a commit is 40 lower-case digits") {
  CHECK(is_commit(std::string(40, 'a')));
  CHECK_FALSE(is_commit(std::string(39, 'a')));
  CHECK_FALSE(is_commit(std::string(40, 'A')));
  CHECK_FALSE(is_commit(std::string(39, 'a') + "/"));
}

TEST_CASE("text of a server is shown without its control characters") {
  CHECK(printable("a\x1b[31m\nb") == "a?[31m?b");
  CHECK(printable(std::string(1000, 'a')).size() < 200);
}

}  // namespace
}  // namespace coppice::server
