// See expectations.h.
#include "tests/unit/text/tokenizer/expectations.h"

#include <fstream>
#include <span>
#include <stdexcept>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "nlohmann/json.hpp"
#include "text/tokenizer/detokenizer.h"

namespace coppice::text {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kFnvOffset = 0xCBF29CE484222325ULL;
constexpr std::uint64_t kFnvPrime = 0x100000001B3ULL;

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = kFnvOffset;
  for (const char byte : text) {
    hash = (hash ^ static_cast<std::uint8_t>(byte)) * kFnvPrime;
  }
  return hash;
}

std::uint64_t hash_ids(std::span<const TokenId> ids) {
  std::uint64_t hash = kFnvOffset;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((static_cast<std::uint32_t>(id) >> shift) & 0xFF)) * kFnvPrime;
    }
  }
  return hash;
}

Json read_json(const std::string& path) {
  std::ifstream stream(path);
  if (!stream) {
    throw std::runtime_error(path + ": cannot be opened");
  }
  return Json::parse(stream);
}

std::uint64_t parse_hash(const Json& json) {
  return std::stoull(json.get<std::string>(), nullptr, 16);
}

ExpectedIds parse_ids(const Json& json) {
  ExpectedIds expected;
  if (json.is_string()) {
    expected.hash = parse_hash(json);
  } else {
    expected.ids = json.get<std::vector<TokenId>>();
    expected.hash = hash_ids(expected.ids);
  }
  return expected;
}

void note(Comparison& comparison, bool equal, std::size_t shown_max, const std::string& line) {
  ++comparison.count;
  if (equal) {
    return;
  }
  ++comparison.mismatch_count;
  if (comparison.mismatches.size() < shown_max) {
    comparison.mismatches.push_back(line);
  }
}

std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string stream_decode(const Tokenizer& tokenizer, std::span<const TokenId> ids, bool skip_special) {
  Detokenizer detokenizer(tokenizer, {skip_special});
  std::string text;
  for (const TokenId id : ids) {
    text += detokenizer.push(id);
  }
  return text + detokenizer.finish();
}

}  // namespace

Expectations read_expectations(const std::string& path, const std::string& corpus_path) {
  const Json json = read_json(path);
  Expectations expected;
  expected.corpus = (corpus_path.empty() ? json.at("corpus") : read_json(corpus_path)).get<std::vector<std::string>>();
  for (const Json& line : json.at("texts")) {
    ExpectedText text;
    text.plain = parse_ids(line.at(0));
    text.parsed = line.at(1).is_null() ? text.plain : parse_ids(line.at(1));
    text.shown_hash = parse_hash(line.at(2));
    text.hidden_hash = line.at(3).is_null() ? text.shown_hash : parse_hash(line.at(3));
    expected.texts.push_back(std::move(text));
  }
  for (const Json& line : json.at("decodings")) {
    expected.decodings.push_back(
        {line.at(0).get<std::vector<TokenId>>(), line.at(1).get<bool>(), line.at(2).get<std::string>()});
  }
  expected.bos = json.at("bos").get<std::int32_t>();
  expected.eos = json.at("eos").get<std::int32_t>();
  if (expected.texts.size() > expected.corpus.size()) {
    throw std::runtime_error(path + ": more expectations than texts");
  }
  return expected;
}

Comparison compare(const Tokenizer& tokenizer, const Expectations& expected, std::size_t shown_max) {
  Comparison comparison;
  for (std::size_t index = 0; index < expected.texts.size(); ++index) {
    const std::string& text = expected.corpus[index];
    const ExpectedText& wanted = expected.texts[index];
    const auto plain = tokenizer.encode(text, {true, false}).value();
    note(comparison, hash_ids(plain) == wanted.plain.hash, shown_max,
         fmt::format("encode [{}] {}: {} not {}", index, quoted(text), plain, wanted.plain.ids));
    const auto parsed = tokenizer.encode(text, {false, true}).value();
    note(comparison, hash_ids(parsed) == wanted.parsed.hash, shown_max,
         fmt::format("encode, special tokens parsed [{}] {}: {} not {}", index, quoted(text), parsed,
                     wanted.parsed.ids));
    if (hash_ids(parsed) != wanted.parsed.hash) {
      continue;  // its decoding is expected to differ then
    }
    const std::string shown = stream_decode(tokenizer, parsed, false);
    note(comparison, hash_text(shown) == wanted.shown_hash, shown_max,
         fmt::format("decode [{}] {}: {}", index, quoted(text), quoted(shown)));
    const std::string hidden = stream_decode(tokenizer, parsed, true);
    note(comparison, hash_text(hidden) == wanted.hidden_hash, shown_max,
         fmt::format("decode without special tokens [{}] {}: {}", index, quoted(text), quoted(hidden)));
  }
  for (const ExpectedDecoding& wanted : expected.decodings) {
    const std::string text = stream_decode(tokenizer, wanted.ids, wanted.skip_special);
    note(comparison, text == wanted.text, shown_max,
         fmt::format("decode {} skip_special={}: {} not {}", wanted.ids, wanted.skip_special, quoted(text),
                     quoted(wanted.text)));
  }
  note(comparison, tokenizer.special().bos == expected.bos, shown_max, fmt::format("bos {}", tokenizer.special().bos));
  note(comparison, tokenizer.special().eos == expected.eos, shown_max, fmt::format("eos {}", tokenizer.special().eos));
  return comparison;
}

}  // namespace coppice::text
