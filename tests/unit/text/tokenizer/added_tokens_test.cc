// White space that added tokens take along.
#include "text/tokenizer/added_tokens.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <sstream>
#include <string>
#include <vector>

namespace coppice::text {
namespace {

AddedToken token(const std::string& content, TokenId id, bool lstrip, bool rstrip) {
  AddedToken token;
  token.content = content;
  token.id = id;
  token.lstrip = lstrip;
  token.rstrip = rstrip;
  return token;
}

// "[0-2:7][2-3]": sections with their ends, and the ids of tokens.
std::string split(const AddedTokenMatcher& matcher, const std::string& text) {
  std::ostringstream all;
  const absl::Status status = matcher.split(text, true, {}, [&](const Section& section) {
    all << '[' << section.begin << '-' << section.end;
    if (section.id >= 0) {
      all << ':' << section.id;
    }
    all << ']';
    return absl::OkStatus();
  });
  return status.ok() ? all.str() : status.ToString();
}

TEST_CASE("white space on the sides of a token goes with it, once") {
  AddedTokenMatcher matcher;
  matcher.add("<l>", token("<l>", 1, true, false));
  matcher.add("<r>", token("<r>", 2, false, true));
  matcher.add("<b>", token("<b>", 3, true, true));
  CHECK(split(matcher, "a <l> b") == "[0-1][1-5:1][5-7]");
  CHECK(split(matcher, "a <r> b") == "[0-2][2-6:2][6-7]");
  CHECK(split(matcher, "a  <b>  b") == "[0-1][1-8:3][8-9]");
  CHECK(split(matcher, "<r>  <l>") == "[0-5:2][5-8:1]");
  CHECK(split(matcher, "<b> <b>") == "[0-4:3][4-7:3]");
}

TEST_CASE("the first error ends the walk") {
  AddedTokenMatcher matcher;
  matcher.add("<l>", token("<l>", 1, false, false));
  int calls = 0;
  const absl::Status status = matcher.split("a<l>b<l>", true, {}, [&](const Section&) {
    ++calls;
    return calls < 2 ? absl::OkStatus() : absl::ResourceExhaustedError("enough");
  });
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(calls == 2);
}

TEST_CASE("tokens of white space that take white space along: time grows with the text") {
  AddedTokenMatcher matcher;
  matcher.add(" ", token(" ", 1, true, true));
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Section> sections;
  const std::string blanks(500'000, ' ');
  const absl::Status status = matcher.split(blanks, true, {}, [&](const Section& section) {
    sections.push_back(section);
    return absl::OkStatus();
  });
  CHECK(status.ok());
  CHECK(sections.front().end == blanks.size());
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}

}  // namespace
}  // namespace coppice::text
