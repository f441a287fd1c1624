// The helper of tools/check_grammars.py: decides about texts as the engine would, byte by byte.
//
// With a model folder as argument it walks with that model's tokens: instances are for bytes.
// Reads lines {"kind": 0..5, "text": TEXT, "strict": BOOL, "instances": [TEXT, ...], "walks": N} and answers each with
// {"error": TEXT} or {"accepted": [BOOL, ...], "walks": [HEX, ...], "unenforced": [TEXT, ...], "compile_us": N,
// "bytes": N, "mask_us": {"p50": N, "p99": N}}; walks are random bytes that the grammar allows. Fails when a mask and
// accept() disagree.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "tests/unit/text/grammar/byte_tokenizer.h"
#include "text/grammar/grammar.h"

namespace {

using coppice::text::GrammarMatcher;
using Json = nlohmann::json;

bool is_set(const std::vector<std::uint32_t>& mask, coppice::TokenId token) {
  return (mask[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1U) != 0;
}

// Throws std::runtime_error when a mask and accept() disagree.
bool accepts(const coppice::text::CompiledGrammar& grammar, const std::string& text, coppice::TokenId end) {
  GrammarMatcher matcher = GrammarMatcher::create(grammar).value();
  std::vector<std::uint32_t> mask(matcher.mask_words());
  const auto step = [&](coppice::TokenId token) {
    if (!matcher.fill_mask(mask).ok()) {
      throw std::runtime_error("no mask");
    }
    const bool is_accepted = matcher.accept(token).value();
    if (is_accepted != is_set(mask, token)) {
      throw std::runtime_error("mask and accept disagree at " + text);
    }
    return is_accepted;
  };
  for (const char c : text) {
    if (!step(static_cast<unsigned char>(c))) {
      return false;
    }
  }
  return step(end);
}

double microseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

// How often a token comes in a walk: what ends something more often, blanks and characters beyond ASCII less.
std::size_t weight_of(const std::string& bytes) {
  const int first = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[0]);
  return first == '"' || first == '}' || first == ']' ? 30 : first >= 0x80 || first <= ' ' ? 1 : 8;
}

// Returns bytes that the grammar allows, or none when they grow too long. The same for the same seed.
std::string walk(const coppice::text::CompiledGrammar& grammar, const coppice::text::Tokenizer& tokenizer,
                 std::mt19937& random, std::vector<double>& mask_us) {
  constexpr std::size_t kBytesMax = 400;  // enough for the schemas of the check; strings would go on for ever
  GrammarMatcher matcher = GrammarMatcher::create(grammar).value();
  std::vector<std::uint32_t> mask(matcher.mask_words());
  std::string text;
  while (text.size() < kBytesMax) {
    if (matcher.is_finished() && random() % 2 == 0) {
      return text;
    }
    const auto begin = std::chrono::steady_clock::now();
    if (!matcher.fill_mask(mask).ok()) {
      throw std::runtime_error("no mask");
    }
    mask_us.push_back(microseconds_since(begin));
    std::vector<coppice::TokenId> allowed;
    for (coppice::TokenId token = 0; token < tokenizer.vocab_size(); ++token) {
      if (is_set(mask, token) && !tokenizer.is_special(token)) {
        allowed.insert(allowed.end(), weight_of(tokenizer.token_bytes(token)), token);
      }
    }
    if (allowed.empty()) {
      return matcher.is_finished() ? text : "dead end after: " + text;
    }
    const coppice::TokenId token = allowed[random() % allowed.size()];
    if (!matcher.accept(token).value()) {
      throw std::runtime_error("a token of the mask is refused after " + text);
    }
    text += tokenizer.token_bytes(token);
  }
  return "";
}

Json answer(const coppice::text::GrammarCompiler& compiler, const coppice::text::Tokenizer& tokenizer, const Json& line,
            coppice::TokenId end) {
  coppice::text::GrammarSpec spec;
  spec.kind = static_cast<coppice::text::GrammarKind>(line.at("kind").get<int>());
  spec.text = line.at("text").get<std::string>();
  spec.strict = line.at("strict").get<bool>();
  const auto begin = std::chrono::steady_clock::now();
  const auto grammar = compiler.compile(spec);
  if (!grammar.ok()) {
    return {{"error", std::string(grammar.status().message())}};
  }
  const double compile_us = microseconds_since(begin);
  Json out = {{"accepted", Json::array()}, {"unenforced", Json::array()}};
  out["compile_us"] = static_cast<std::int64_t>(compile_us);
  out["bytes"] = grammar->memory_bytes();
  for (const auto& keyword : grammar->unenforced()) {
    out["unenforced"].push_back(keyword.message());
  }
  for (const Json& instance : line.at("instances")) {
    out["accepted"].push_back(accepts(*grammar, instance.get<std::string>(), end));
  }
  std::mt19937 random(1);
  std::vector<double> mask_us;
  for (int i = 0; i < line.value("walks", 0); ++i) {
    std::string hexadecimal;
    for (const char c : walk(*grammar, tokenizer, random, mask_us)) {
      const int byte = static_cast<unsigned char>(c);
      hexadecimal += {"0123456789abcdef"[byte / 16], "0123456789abcdef"[byte % 16]};
    }
    out["walks"].push_back(hexadecimal);
  }
  std::sort(mask_us.begin(), mask_us.end());
  if (!mask_us.empty()) {
    out["mask_us"] = {{"p50", mask_us[mask_us.size() / 2]}, {"p99", mask_us[mask_us.size() * 99 / 100]}};
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<coppice::text::Tokenizer> tokenizer = std::make_unique<coppice::text::ByteTokenizer>();
  std::vector<coppice::TokenId> ends = coppice::text::ByteTokenizer().end_tokens();
  if (argc > 1) {
    tokenizer = coppice::text::load_tokenizer(argv[1]).value();
    ends = {tokenizer->special().eos};
  }
  const auto compiler = coppice::text::GrammarCompiler::create(*tokenizer, tokenizer->vocab_size(), ends);
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(**compiler, *tokenizer, Json::parse(line), ends[0])
                     .dump(-1, ' ', true, Json::error_handler_t::replace)
              << std::endl;
  }
  return 0;
}
