// The speculator as an engine sees it: who learns from whom, what predictions and corpora do, what is kept in memory
// and over a restart.
#include "engine/speculation/suffix_speculator.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "catch2/catch.hpp"

namespace coppice::testing {
namespace {

using engine::Corpus;
using engine::DraftTree;
using engine::SuffixSpeculator;
using engine::SuffixSpeculatorOptions;
using engine::TokenSource;
using Tokens = std::vector<TokenId>;

Tokens range(TokenId begin, TokenId end) {
  Tokens tokens;
  for (TokenId token = begin; token < end; ++token) {
    tokens.push_back(token);
  }
  return tokens;
}

// The likeliest path of a proposal.
Tokens guess(SuffixSpeculator& speculator, SequenceSlot slot) {
  DraftTree tree;
  speculator.propose(slot, 16, 0, tree);
  Tokens path;
  std::int32_t at = -1;
  for (std::int32_t node = 0; node < tree.size(); ++node) {
    if (tree.parents[static_cast<std::size_t>(node)] == at) {
      path.push_back(tree.tokens[static_cast<std::size_t>(node)]);
      at = node;
    }
  }
  return path;
}

void run(SuffixSpeculator& speculator, SequenceSlot slot, std::string_view tenant, const Tokens& prompt,
         const Tokens& output) {
  speculator.begin(slot, tenant);
  speculator.observe(slot, TokenSource::kPrompt, prompt);
  speculator.observe(slot, TokenSource::kOutput, output);
  speculator.end(slot, {});
}

void start(SuffixSpeculator& speculator, SequenceSlot slot, std::string_view tenant, const Tokens& output) {
  speculator.begin(slot, tenant);
  speculator.observe(slot, TokenSource::kPrompt, Tokens{900 + slot});
  speculator.observe(slot, TokenSource::kOutput, output);
}

bool starts_with(const Tokens& tokens, const Tokens& start) {
  return tokens.size() >= start.size() && std::equal(start.begin(), start.end(), tokens.begin());
}

std::string file_name(const char* name) {
  return (std::filesystem::temp_directory_path() / (name + std::to_string(getpid()))).string();
}

}  // namespace

TEST_CASE("the rest of an output that ended is learned later, as if it had been handed over", "[speculator]") {
  const Tokens prompt = range(500, 540);
  const Tokens output = range(10, 210);
  for (const std::size_t heard : {0, 1, 120}) {
    SuffixSpeculator at_once{SuffixSpeculatorOptions()};
    run(at_once, 0, "a", prompt, output);
    SuffixSpeculator later{SuffixSpeculatorOptions()};
    later.begin(0, "a");
    later.observe(0, TokenSource::kPrompt, prompt);
    if (heard > 0) {
      later.observe(0, TokenSource::kOutput, std::span<const TokenId>(output).first(heard));
    }
    later.end(0, std::span<const TokenId>(output).subspan(heard));
    CHECK(later.tokens() < at_once.tokens());
    later.begin_capture();  // has the whole output when it is complete
    start(later, 1, "a", {100});
    CHECK(guess(later, 1).empty() == (heard < 120));  // it may draft meanwhile
    later.end(1, {});
    for (int calls = 1; later.catch_up(7); ++calls) {
      REQUIRE(calls < 1000);
    }
    engine::SpeculationSnapshot snapshot;
    REQUIRE(later.take_capture(snapshot));
    const auto is_whole = [&](const engine::SharedText& text) {
      return text->size() >= output.size() && std::equal(output.rbegin(), output.rend(), text->rbegin());
    };
    REQUIRE(snapshot.tenants.size() == 1);
    CHECK(std::ranges::any_of(snapshot.tenants[0].sequences, is_whole));
    start(at_once, 1, "a", {100});
    at_once.end(1, {});
    CHECK(later.tokens() == at_once.tokens());
    for (SuffixSpeculator* speculator : {&at_once, &later}) {
      start(*speculator, 2, "a", {170, 171});
    }
    CHECK(guess(later, 2) == guess(at_once, 2));
    CHECK_FALSE(guess(later, 2).empty());
  }
}

TEST_CASE("tenants that leave nothing behind are forgotten", "[speculator]") {
  SuffixSpeculator speculator{SuffixSpeculatorOptions()};
  for (int i = 0; i < 100; ++i) {
    const std::string tenant = std::to_string(i);
    speculator.begin(0, tenant);  // an output of no token
    speculator.end(0, {});
    speculator.learn(Corpus{"c", tenant, false, {range(10, 20)}});
    if (i % 2 == 0) {
      while (speculator.catch_up(100)) {
      }
    }
    speculator.forget(Corpus{"c", tenant, false, {}});
  }
  while (speculator.catch_up(100)) {
  }
  CHECK(speculator.tenants() == 0);
  CHECK(speculator.bytes() == 0);
}

TEST_CASE("more outputs and corpora than a tree can number are evicted or refused", "[speculator]") {
  SuffixSpeculatorOptions options;
  options.sequences_max = 64;
  options.depth = 8;
  SuffixSpeculator speculator(options);
  std::vector<std::vector<TokenId>> texts;
  for (TokenId i = 0; i < 200; ++i) {
    texts.push_back({3 * i, 3 * i + 1, 3 * i + 2});
  }
  texts.insert(texts.begin() + 1, 50, std::vector<TokenId>());  // empty ones take no place
  speculator.learn(Corpus{"mine", "a", false, texts});
  speculator.learn(Corpus{"all", "", true, texts});
  for (int calls = 1; speculator.catch_up(7); ++calls) {
    REQUIRE(calls < 1000);
  }
  CHECK(speculator.tokens() == 2 * 3 * 64);
  for (SequenceSlot slot = 0; slot < 20; ++slot) {  // they grow in trees of their own
    start(speculator, slot, "a", {10, 11, 12});
  }
  CHECK_FALSE(guess(speculator, 0).empty());
  for (SequenceSlot slot = 0; slot < 20; ++slot) {
    speculator.end(slot, std::vector<TokenId>{5});
  }
  speculator.forget(Corpus{"mine", "a", false, {}});
  for (int round = 0; round < 1000; ++round) {
    run(speculator, 0, round % 3 == 0 ? "a" : "b", {500}, {round, round + 1});
    speculator.begin(1, "c");  // an output of no token
    speculator.end(1, {});
  }
  while (speculator.catch_up(100)) {
  }
  CHECK(speculator.tokens() < 3 * 64 + 70 * 18);
  start(speculator, 0, "b", {995});
  CHECK(starts_with(guess(speculator, 0), {996}));
}

TEST_CASE("outputs are drafted from for the same tenant, from no other", "[speculator]") {
  for (const bool shared : {false, true}) {
    SuffixSpeculatorOptions options;
    options.shared_between_tenants = shared;
    SuffixSpeculator speculator(options);
    run(speculator, 0, "a", {500}, range(10, 40));
    start(speculator, 0, "a", {10, 11, 12});
    start(speculator, 1, "b", {10, 11, 12});
    CHECK(starts_with(guess(speculator, 0), {13, 14}));
    CHECK(guess(speculator, 1).empty() == !shared);
  }
}

TEST_CASE("a running output is drafted from too, and a prompt only for its own sequence", "[speculator]") {
  SuffixSpeculator speculator({});
  start(speculator, 0, "a", range(10, 40));
  start(speculator, 1, "a", {20, 21});
  CHECK(starts_with(guess(speculator, 1), {22, 23}));
  speculator.begin(2, "a");
  speculator.observe(2, TokenSource::kPrompt, range(100, 140));
  speculator.observe(2, TokenSource::kOutput, Tokens{110, 111});
  CHECK(starts_with(guess(speculator, 2), {112, 113}));
  start(speculator, 3, "a", {110, 111});
  CHECK(!starts_with(guess(speculator, 3), {112}));
}

TEST_CASE("a predicted output is guessed from its first token on, and again after a change", "[speculator]") {
  SuffixSpeculator speculator({});
  speculator.begin(0, "a");
  speculator.observe(0, TokenSource::kPrediction, range(200, 220));
  speculator.observe(0, TokenSource::kPrediction, range(220, 240));
  speculator.observe(0, TokenSource::kPrompt, Tokens{1, 2, 3});
  CHECK(starts_with(guess(speculator, 0), {200, 201, 202}));
  speculator.observe(0, TokenSource::kOutput, Tokens{200, 201, 7, 203, 204});
  CHECK(starts_with(guess(speculator, 0), {205, 206}));
}

TEST_CASE("guesses keep to the caller's bounds", "[speculator]") {
  SuffixSpeculator speculator({});
  run(speculator, 0, "a", {500}, range(10, 60));
  start(speculator, 0, "a", {10, 11, 12});
  DraftTree tree;
  speculator.propose(0, 3, 0, tree);
  CHECK(tree.size() == 3);
  tree.clear();
  speculator.propose(0, 16, 0.9999F, tree);
  CHECK(tree.size() == 0);
}

TEST_CASE("what comes true makes guesses surer, what does not less sure", "[speculator]") {
  const auto sureness = [](bool comes_true) {
    SuffixSpeculator speculator({});
    run(speculator, 0, "a", {500}, range(0, 200));
    start(speculator, 0, "a", {0, 1, 2});
    DraftTree tree;
    for (TokenId token = 3; token < 150; ++token) {
      tree.clear();
      speculator.propose(0, 4, 0, tree);
      speculator.observe(0, TokenSource::kOutput, Tokens{comes_true || token % 5 != 0 ? token : token + 1000});
    }
    tree.clear();
    speculator.propose(0, 4, 0, tree);
    return tree.size() > 0 ? tree.survival[0] : 0.0F;
  };
  CHECK(sureness(true) > 0.95F);
  CHECK(sureness(false) < sureness(true));
}

TEST_CASE("memory keeps to its budget: the oldest outputs go", "[speculator]") {
  SuffixSpeculatorOptions options;
  options.memory_bytes = 1 << 19;
  SuffixSpeculator speculator(options);
  for (TokenId i = 0; i < 300; ++i) {
    run(speculator, 0, i % 2 == 0 ? "a" : "b", {9000}, range(i * 100, i * 100 + 100));
    CHECK(speculator.bytes() < options.memory_bytes + options.memory_bytes / 5);  // the index while it grows
  }
  CHECK(speculator.bytes() > options.memory_bytes / 2);
  start(speculator, 0, "a", {0, 1, 2});
  CHECK(guess(speculator, 0).empty());
  start(speculator, 1, "a", {29800, 29801});
  CHECK(starts_with(guess(speculator, 1), {29802}));
}

TEST_CASE("tenants whose outputs are all gone are forgotten", "[speculator]") {
  SuffixSpeculatorOptions options;
  options.memory_bytes = 1 << 18;
  SuffixSpeculator speculator(options);
  for (TokenId i = 0; i < 400; ++i) {
    run(speculator, 0, std::to_string(i), {1}, range(0, 200));
  }
  CHECK(speculator.bytes() < options.memory_bytes + 40000);
  CHECK(speculator.tenants() < 40);
}

TEST_CASE("a corpus is drafted from once it has been caught up with, until it is dropped", "[speculator]") {
  SuffixSpeculator speculator({});
  start(speculator, 0, "a", {1});
  start(speculator, 1, "b", {1});
  speculator.learn(Corpus{"mine", "a", false, {range(100, 180), range(300, 400)}});
  speculator.learn(Corpus{"all", "", true, {range(500, 600)}});
  int pieces = 0;
  while (speculator.catch_up(16)) {
    ++pieces;
  }
  CHECK(pieces > 10);
  start(speculator, 2, "late", {1});  // begins after everyone's corpus
  while (speculator.catch_up(1000)) {
  }
  const auto drafts = [&](SequenceSlot slot, TokenId from) {
    speculator.observe(slot, TokenSource::kOutput, Tokens{from, from + 1, from + 2});
    return starts_with(guess(speculator, slot), {from + 3});
  };
  speculator.begin(4, "salt");  // a tenant of one request: the corpus is there at once
  speculator.observe(4, TokenSource::kPrompt, Tokens{1, 530, 531});
  CHECK(starts_with(guess(speculator, 4), {532, 533}));
  CHECK(drafts(0, 110));
  CHECK(drafts(0, 310));
  CHECK(!drafts(1, 110));
  CHECK(drafts(0, 510));
  CHECK(drafts(1, 510));
  CHECK(drafts(2, 510));
  speculator.forget(Corpus{"mine", "a", false, {}});
  speculator.forget(Corpus{"unknown", "a", false, {}});
  while (speculator.catch_up(50)) {
  }
  start(speculator, 3, "a", {1});
  CHECK(!drafts(3, 150));
  CHECK(drafts(3, 560));
}

TEST_CASE("requests that each bring a new salt keep within the memory too, and leave no tenants behind",
          "[speculator]") {
  SuffixSpeculatorOptions options;
  options.memory_bytes = 1 << 20;
  SuffixSpeculator speculator(options);
  for (TokenId i = 0; i < 3000; ++i) {
    run(speculator, 0, "salt" + std::to_string(i), {1, 2, 3}, {i, i + 1});
    REQUIRE(speculator.bytes() < options.memory_bytes + options.memory_bytes / 10);
  }
  CHECK(speculator.tenants() < 100);
  CHECK(speculator.tenants() > 20);
}

TEST_CASE("a corpus dropped before it was caught up with leaves nothing", "[speculator]") {
  SuffixSpeculator speculator({});
  start(speculator, 0, "a", {1});
  const std::size_t tokens = speculator.tokens();
  speculator.learn(Corpus{"c", "a", false, {range(100, 200), range(300, 400)}});
  speculator.catch_up(50);
  speculator.forget(Corpus{"c", "a", false, {}});
  while (speculator.catch_up(7)) {
  }
  CHECK(speculator.tokens() == tokens);
}

engine::SpeculationSnapshot capture(SuffixSpeculator& speculator) {
  speculator.begin_capture();
  engine::SpeculationSnapshot snapshot;
  CHECK_FALSE(speculator.take_capture(snapshot));
  while (speculator.catch_up(1)) {
  }
  REQUIRE(speculator.take_capture(snapshot));
  return snapshot;
}

TEST_CASE("a copy of many tenants' outputs is complete, and made while outputs come", "[speculator]") {
  SuffixSpeculator speculator{SuffixSpeculatorOptions()};
  const auto say = [&speculator](const std::string& tenant, TokenId first) {
    speculator.begin(0, tenant);
    speculator.observe(0, engine::TokenSource::kPrompt, range(0, 3));
    speculator.observe(0, engine::TokenSource::kOutput, range(first, first + 4));
    speculator.end(0, {});
  };
  for (TokenId i = 0; i < 700; ++i) {
    say("tenant" + std::to_string(i % 3), 100 + i);
  }
  say("", 5000);
  speculator.begin_capture();
  speculator.catch_up(1);
  say("tenant1", 6000);
  engine::SpeculationSnapshot snapshot;
  while (!speculator.take_capture(snapshot)) {
    speculator.catch_up(1);
  }
  REQUIRE(snapshot.tenants.size() == 4);
  CHECK(snapshot.tenants[0].tenant.empty());
  CHECK(snapshot.tenants[1].sequences.size() == 234);
  CHECK(snapshot.tenants[3].sequences.size() == 233);
  for (std::size_t i = 0; i < 233; ++i) {
    const Tokens& text = *snapshot.tenants[3].sequences[i];
    CHECK(text.back() == 100 + 2 + 3 * static_cast<TokenId>(i) + 3);
  }
}

TEST_CASE("a snapshot brings back what was learned", "[speculator]") {
  const std::string path = file_name("coppice_snapshot_test");
  {
    SuffixSpeculator speculator({});
    run(speculator, 0, "a", {500}, range(10, 60));
    run(speculator, 0, "b", {500}, range(100, 160));
    REQUIRE(engine::write_snapshot(capture(speculator), 77, path).ok());
  }
  auto snapshot = engine::read_snapshot(77, path);
  REQUIRE(snapshot.ok());
  SuffixSpeculator speculator({});
  REQUIRE(speculator.restore(*std::move(snapshot)).ok());
  while (speculator.catch_up(16)) {
  }
  start(speculator, 0, "a", {20, 21});
  start(speculator, 1, "b", {20, 21});
  CHECK(starts_with(guess(speculator, 0), {22, 23}));
  CHECK(guess(speculator, 1).empty());
  CHECK(engine::read_snapshot(78, path).status().code() == absl::StatusCode::kDataLoss);
  CHECK(engine::read_snapshot(77, path + ".none").status().code() == absl::StatusCode::kNotFound);
  std::filesystem::remove(path);
}

TEST_CASE("a snapshot with any byte changed, missing or too many is refused", "[speculator]") {
  const std::string path = file_name("coppice_snapshot_damage_test");
  engine::SpeculationSnapshot snapshot;
  snapshot.tenants.push_back({"tenant", {std::make_shared<const Tokens>(range(0, 9))}});
  snapshot.tenants.push_back(
      {"", {std::make_shared<const Tokens>(Tokens{}), std::make_shared<const Tokens>(Tokens{5})}});
  REQUIRE(engine::write_snapshot(snapshot, 1, path).ok());
  std::ifstream in(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto is_refused = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return engine::read_snapshot(1, path).status().code() == absl::StatusCode::kDataLoss;
  };
  CHECK(!is_refused(whole));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    for (const char flip : {'\x01', '\x80', '\xFF'}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      REQUIRE(is_refused(damaged));
    }
    REQUIRE(is_refused(whole.substr(0, i)));
  }
  CHECK(is_refused(whole + '\0'));
  std::filesystem::remove(path);
}

}  // namespace coppice::testing
