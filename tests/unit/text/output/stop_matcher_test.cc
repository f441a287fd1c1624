// Stop strings against an obvious search, with the text cut into pushes at random.
#include <catch2/catch.hpp>
#include <memory>
#include <random>

#include "text/output/stop_matcher.h"

namespace coppice::text {
namespace {

struct Outcome {
  std::string text;
  std::optional<std::size_t> index;
};

// The first place where a stop string ends; of several that end there, the longest.
Outcome search(const std::string& text, const std::vector<std::string>& stops, bool include_stop) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::optional<std::size_t> best;
    for (std::size_t index = 0; index < stops.size(); ++index) {
      const std::string& stop = stops[index];
      const bool found = !stop.empty() && text.substr(0, end).ends_with(stop);
      if (found && (!best.has_value() || stop.size() > stops[*best].size())) {
        best = index;
      }
    }
    if (best.has_value()) {
      return {text.substr(0, include_stop ? end : end - stops[*best].size()), best};
    }
  }
  return {text, std::nullopt};
}

std::string random_text(std::mt19937& random, std::size_t length_max) {
  std::string text(random() % (length_max + 1), 'a');
  for (char& letter : text) {
    letter = static_cast<char>('a' + random() % 2);
  }
  return text;
}

StopStringMatcher matcher_of(const std::vector<std::string>& stops, bool include_stop = false) {
  return StopStringMatcher(std::make_shared<const StopStrings>(stops), include_stop);
}

TEST_CASE("stop strings are found wherever the text is cut") {
  std::mt19937 random(3);
  std::size_t found = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) {
      stop = random_text(random, 6);
    }
    const std::string text = random_text(random, 24);
    const bool include_stop = round % 2 == 0;
    const Outcome wanted = search(text, stops, include_stop);
    StopStringMatcher matcher = matcher_of(stops, include_stop);
    Outcome got;
    std::size_t at = 0;
    while (at < text.size() && !got.index.has_value()) {
      const std::size_t length = random() % 4;
      const StopMatch match = matcher.push(std::string_view(text).substr(at, length));
      at += length;
      got.text += match.text;
      got.index = match.index;
    }
    if (!got.index.has_value()) {
      got.text += matcher.finish();
    }
    REQUIRE(got.text == wanted.text);
    REQUIRE(got.index == wanted.index);
    found += got.index.has_value() ? 1 : 0;
  }
  CHECK(found > 5000);
}

TEST_CASE("only what may begin a stop string is held back") {
  StopStringMatcher matcher = matcher_of({"</answer>", "\n\nUser:"});
  CHECK(matcher.push("It is 4 < 5").text == "It is 4 < 5");
  CHECK(matcher.push(" and</ans").text == " and");
  CHECK(matcher.push("w").text.empty());
  CHECK(matcher.push("x").text == "</answx");
  CHECK(matcher.push("\n").text.empty());
  CHECK(matcher.push("\n").text.empty());
  CHECK(matcher.push("\n").text == "\n");
  const StopMatch match = matcher.push("User: hi");
  CHECK(match.text.empty());
  CHECK(match.index == 1);
}

TEST_CASE("without stop strings everything passes") {
  StopStringMatcher none = matcher_of({});
  CHECK(none.empty());
  CHECK(none.push("abc").text == "abc");
  StopStringMatcher only_empty = matcher_of({"", ""});
  CHECK(only_empty.empty());
  StopStringMatcher second = matcher_of({"", "b"}, true);
  const StopMatch match = second.push("abc");
  CHECK(match.text == "ab");
  CHECK(match.index == 1);
}

TEST_CASE("a stop string that almost repeats itself costs linear time") {
  StopStringMatcher matcher = matcher_of({std::string(4000, 'a') + "b"});
  std::size_t out = 0;
  for (int count = 0; count < 200'000; ++count) {
    out += matcher.push("a").text.size();
  }
  CHECK(out == 196'000);
  CHECK(matcher.push("b").index == 0);
}

TEST_CASE("streams of one request share the automaton and nothing else") {
  const auto stops = std::make_shared<const StopStrings>(std::vector<std::string>{"ab"});
  StopStringMatcher first(stops);
  StopStringMatcher second(stops);
  CHECK(first.push("xa").text == "x");
  CHECK(second.push("b").text == "b");
  CHECK(first.push("b").index == 0);
  CHECK(stops.use_count() == 3);
}

}  // namespace
}  // namespace coppice::text
