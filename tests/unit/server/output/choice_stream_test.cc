// One choice's tokens to text: stop strings across tokens, characters across tokens, logprobs that agree with the text.
#include "server/output/choice_stream.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "server/output/token_entry.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

// ids:                      2    3    4     5       6       7     8
const text::TestTokenizer kTokenizer({"a", "b", "ab", "\xC3", "\xA9", " x", "</t"});

struct Run {
  std::string text;
  std::vector<openai::TokenEntry> tokens;
  openai::Finish finish;
  bool stopped = false;
  std::int64_t count = 0;
};

// One event: a token, which is the end token when it is 1.
engine::Event event_of(TokenId id) {
  engine::Event event;
  engine::TokenInfo& info = event.tokens.emplace_back();
  info.token = id;
  info.logprob = -1.0F;
  event.finish = id == 1 ? engine::FinishReason::kStop : engine::FinishReason::kNone;
  return event;
}

engine::Event end_by_length() {
  engine::Event event;
  event.finish = engine::FinishReason::kLength;
  return event;
}

openai::GenerationRequest request_of(const std::vector<std::string>& stops) {
  openai::GenerationRequest request;
  request.stop = stops;
  return request;
}

ChoiceStream stream_of(const openai::GenerationRequest& request, std::int64_t offset) {
  return {kTokenizer,
          request,
          std::make_shared<const text::StopStrings>(request.stop),
          text::Detokenizer(kTokenizer),
          make_output_parser(request, ParserSetup()),
          offset};
}

Run run(const std::vector<TokenId>& ids, const std::vector<std::string>& stops, bool include_stop = false,
        std::int64_t offset = 0) {
  openai::GenerationRequest request = request_of(stops);
  request.include_stop_str_in_output = include_stop;
  request.top_logprobs = 0;
  ChoiceStream stream = stream_of(request, offset);
  Run out;
  const auto take = [&] {
    for (openai::OutputItem& item : stream.take().items) {
      if (auto* const text = std::get_if<openai::TextDelta>(&item)) {
        out.text += text->text;
        std::move(text->tokens.begin(), text->tokens.end(), std::back_inserter(out.tokens));
      } else {
        out.finish = std::get<openai::Finish>(item);
      }
    }
    // In every prefix of the stream, tokens begin inside the text that is out.
    const std::int64_t out_characters = offset + count_characters(out.text);
    for (const openai::TokenEntry& entry : out.tokens) {
      CHECK(entry.text_offset <= out_characters);
    }
  };
  for (const TokenId id : ids) {
    if (stream.ended()) {
      break;
    }
    stream.read(event_of(id));
    take();
  }
  if (!stream.ended()) {
    stream.read(end_by_length());
  }
  take();
  out.stopped = stream.stopped_early();
  out.count = stream.token_count();
  return out;
}

TEST_CASE("text without stop strings is the tokens' text; the end token counts but has none") {
  const Run out = run({2, 3, 7, 1}, {});
  CHECK(out.text == "ab x");
  CHECK(out.count == 4);
  CHECK(out.tokens.size() == 3);
  CHECK_FALSE(out.stopped);
  CHECK(out.finish.reason == openai::FinishReason::kStop);
  CHECK(out.finish.end_token == 1);
  CHECK(std::holds_alternative<std::monostate>(out.finish.cause));
  CHECK(run({2, 3}, {}).finish.reason == openai::FinishReason::kLength);
}

TEST_CASE("a stop string inside one token, across tokens, and at the very end") {
  const Run inside = run({2, 4, 3}, {"b"});
  CHECK(inside.text == "aa");
  CHECK(inside.stopped);
  CHECK(inside.count == 2);
  const Run across = run({2, 3, 2, 3}, {"ba"});
  CHECK(across.text == "a");
  CHECK(across.count == 3);
  CHECK(across.tokens.size() == 1);  // the tokens of the stop string are not part of the answer
  const Run included = run({2, 3, 2, 3}, {"ba"}, true);
  CHECK(included.text == "aba");
  CHECK(included.tokens.size() == 3);
  const Run last = run({2, 3}, {"ab"});
  CHECK(last.text.empty());
  CHECK(last.stopped);
}

TEST_CASE("of several stop strings the one that begins first wins") {
  const Run out = run({2, 2, 3, 7}, {"x", "ab", "b"});
  CHECK(out.text == "a");
  CHECK(std::get<std::string>(out.finish.cause) == "ab");
}

TEST_CASE("text that may be a stop string is held back, and given out when it is none") {
  const openai::GenerationRequest request = request_of({"</tool>"});
  ChoiceStream stream = stream_of(request, 0);
  stream.read(event_of(8));
  CHECK(stream.take().empty());
  stream.read(end_by_length());
  const openai::ChoiceDelta delta = stream.take();
  REQUIRE(delta.items.size() == 2);
  CHECK(std::get<openai::TextDelta>(delta.items[0]).text == "</t");
}

TEST_CASE("a stop string that spells a special token ends there, though the token gives no text") {
  // <s> (0) is special and not the end token here.
  const Run alone = run({2, 0, 3}, {"<s>"});
  CHECK(alone.text == "a");
  CHECK(alone.stopped);
  CHECK(alone.count == 2);
  CHECK(std::get<std::string>(alone.finish.cause) == "<s>");
  CHECK(alone.tokens.size() == 1);
  const Run inside = run({2, 3, 0, 3, 2}, {"b<s>b"});
  CHECK(inside.text == "a");
  CHECK(inside.stopped);
  CHECK(inside.count == 4);
  const Run included = run({2, 3, 0, 3, 2}, {"b<s>b"}, /*include_stop=*/true);
  CHECK(included.text == "abb");
  // What begins like it and is not it comes out whole, without the token's text.
  const Run missed = run({2, 3, 0, 2, 3}, {"b<s>b"});
  CHECK(missed.text == "abab");
  CHECK_FALSE(missed.stopped);
  CHECK(missed.tokens.size() == 5);
  // Part of its spelling is no stop: that text is not shown.
  for (const std::string part : {"s", "<", "s>", "<s"}) {
    CHECK_FALSE(run({2, 0, 3}, {part}).stopped);
  }
}

TEST_CASE("a special token that is shown is text to stop strings") {
  openai::GenerationRequest request = request_of({"<s>"});
  request.skip_special_tokens = false;
  ChoiceStream stream(kTokenizer, request, std::make_shared<const text::StopStrings>(request.stop),
                      text::Detokenizer(kTokenizer, {.skip_special = false}),
                      make_output_parser(request, ParserSetup()), 0);
  stream.read(event_of(2));
  stream.read(event_of(0));
  CHECK(stream.stopped_early());
}

TEST_CASE("an event of a cancelled or failed request leaves the choice open") {
  const openai::GenerationRequest request = request_of({});
  ChoiceStream stream = stream_of(request, 0);
  engine::Event event;
  event.finish = engine::FinishReason::kDeadline;
  stream.read(event);
  CHECK_FALSE(stream.ended());
}

TEST_CASE("half a character waits for its other half; offsets count characters") {
  const Run out = run({2, 5, 6, 3}, {}, false, 10);
  CHECK(out.text ==
        "a\xC3\xA9"
        "b");
  REQUIRE(out.tokens.size() == 4);
  CHECK(out.tokens[0].text_offset == 10);
  CHECK(out.tokens[1].text_offset == 11);
  CHECK(out.tokens[2].text_offset == 11);
  CHECK(out.tokens[3].text_offset == 12);
  CHECK(out.tokens[1].bytes == "\xC3");
}

TEST_CASE("half a character at the end becomes a replacement character") {
  const Run out = run({2, 5}, {"zz"});
  CHECK(out.text == "a\xEF\xBF\xBD");
  CHECK(out.tokens.size() == 2);
}

TEST_CASE("random streams: the text is the decoded text up to the first stop string, tokens cover it") {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::vector<TokenId> ids;
    for (auto i = random() % 12; i > 0; --i) {
      ids.push_back(static_cast<TokenId>(2 + random() % 7));
    }
    std::vector<std::string> stops;
    for (auto i = random() % 3; i > 0; --i) {
      std::string stop;
      for (auto k = 1 + random() % 3; k > 0; --k) {
        stop += "ab x</t"[random() % 7];
      }
      stops.push_back(stop);
    }
    const std::string all = kTokenizer.decode(ids, true);
    std::size_t cut = std::string::npos;
    for (const std::string& stop : stops) {
      cut = std::min(cut, all.find(stop));
    }
    const Run out = run(ids, stops);
    CHECK(out.text == all.substr(0, cut));
    CHECK(out.stopped == (cut != std::string::npos));
    const std::size_t covered = out.stopped ? 0 : ids.size();
    CHECK(out.tokens.size() >= covered);
    for (const openai::TokenEntry& entry : out.tokens) {
      const std::int64_t characters = count_characters(out.text);
      CHECK((entry.text_offset < characters || (!out.stopped && entry.text_offset <= characters)));
    }
  }
}

}  // namespace
}  // namespace coppice::server
