// JsonWriter against nlohmann's parser: whatever is written reads back as what was meant.
#include "proto/openai/json_writer.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace coppice::openai {
namespace {

std::string written(const std::string& text) {
  JsonWriter out;
  return out.string(text).take();
}

TEST_CASE("JsonWriter nests and separates") {
  JsonWriter out;
  out.begin_object().key("a").begin_array().integer(1).null().boolean(true).end_array();
  out.key("b").begin_object().end_object().key("c").string("x").key("d").raw("[1]").end_object();
  CHECK(out.take() == R"({"a":[1,null,true],"b":{},"c":"x","d":[1]})");
}

TEST_CASE("strings of any bytes become valid JSON; valid UTF-8 comes back unchanged") {
  CHECK(written("a\"b\\c\n\r\t\x01\x7f") == R"("a\"b\\c\n\r\t\u0001\u007f")");
  CHECK(written("h\xC3\xA9 \xF0\x9F\x98\x80") == "\"h\xC3\xA9 \xF0\x9F\x98\x80\"");
  CHECK(written("\xff\xC3") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
  CHECK(written("\xED\xA0\x80") == "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // a surrogate
  CHECK(written("\xC0\xAF\xF4\x90\x80\x80").find("\xEF\xBF\xBD") != std::string::npos);
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (auto i = random() % 12; i > 0; --i) {
      bytes += static_cast<char>(random() % 2 == 0 ? random() % 256 : 0x80 + random() % 0x80);
    }
    const nlohmann::json back = nlohmann::json::parse(written(bytes), nullptr, false);
    REQUIRE_FALSE(back.is_discarded());
    // nlohmann's own replacement works by maximal subparts, ours by bytes; both agree when nothing is wrong.
    try {
      const std::string strict = nlohmann::json(bytes).dump();
      CHECK(back.get<std::string>() == bytes);
    } catch (const nlohmann::json::type_error&) {
      CHECK(back.get<std::string>() != bytes);
    }
  }
}

TEST_CASE("numbers read back as what they were, and are never NaN or infinite") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 2000; ++round) {
    const auto number = std::bit_cast<double>(random());
    if (!std::isfinite(number)) {
      continue;
    }
    JsonWriter out;
    CHECK(nlohmann::json::parse(out.number(number).take()).get<double>() == number);
  }
  const double infinite = std::numeric_limits<double>::infinity();
  CHECK(JsonWriter().number(infinite).take() == "null");
  CHECK(JsonWriter().logprob(-std::numeric_limits<float>::infinity()).take() == "-9999");
  CHECK(JsonWriter().logprob(std::numeric_limits<float>::quiet_NaN()).take() == "-9999");
  CHECK(JsonWriter().logprob(-0.1F).take() == "-0.1");
}

}  // namespace
}  // namespace coppice::openai
