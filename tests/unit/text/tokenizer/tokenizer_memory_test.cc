// What encode() takes at its peak, measured, against what encode_memory() says it takes.
#include <malloc.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/text/tokenizer/fixtures.h"
#include "text/tokenizer/tokenizer.h"

namespace {

std::atomic<std::size_t> held{0};
std::atomic<std::size_t> peak{0};
constexpr std::size_t kHeader = 8;  // bytes that malloc adds to a block

}  // namespace

void* operator new(std::size_t bytes) {
  void* const block = std::malloc(bytes);
  if (block == nullptr) {
    throw std::bad_alloc();
  }
  const std::size_t now = held += malloc_usable_size(block) + kHeader;
  if (now > peak) {
    peak = now;
  }
  return block;
}
void operator delete(void* block) noexcept {
  if (block != nullptr) {
    held -= malloc_usable_size(block) + kHeader;
    std::free(block);
  }
}
void* operator new[](std::size_t bytes) {
  return operator new(bytes);
}
void operator delete[](void* block) noexcept {
  operator delete(block);
}
void operator delete(void* block, std::size_t /*bytes*/) noexcept {
  operator delete(block);
}
void operator delete[](void* block, std::size_t /*bytes*/) noexcept {
  operator delete(block);
}

namespace coppice::text {
namespace {

// Bytes of a text: a little more than a power of two, where lists that double have most to spare.
constexpr std::size_t kTextBytes = (std::size_t{1} << 18) + 1000;
constexpr std::size_t kSlack = std::size_t{128} << 10;  // of a regular expression's stack and the like

const std::string kProse = "It was the best of times, it was the worst of times; ";
// Bytes of memory for a byte of prose: with this, 8 MiB fit beside themselves into the 256 MiB of a request.
constexpr std::size_t kProseFactor = 29;
constexpr std::size_t kRunBytes = std::size_t{6} << 20;  // of the library's one run, where there is one

std::string repeat(const std::string& piece) {
  std::string text;
  while (text.size() < kTextBytes) {
    text += piece;
  }
  return text;
}

// Texts that are hard in different ways: much per byte, no words, many pieces, many added tokens.
std::vector<std::pair<std::string, std::string>> texts() {
  std::vector<std::pair<std::string, std::string>> all;
  for (const std::string& piece : std::vector<std::string>{" ",
                                                           "a",
                                                           "a ",
                                                           "\n",
                                                           " \n",
                                                           "\t",
                                                           "1234567890",
                                                           "a1",
                                                           "!?.,;:",
                                                           "<s>",
                                                           "<|endoftext|>",
                                                           "<|im_start|>",
                                                           "\xE2\x96\x81",
                                                           "\xF0\x9F\x98\x80",
                                                           "\xE6\xBC\xA2\xE5\xAD\x97",
                                                           "\xC3\xA9",
                                                           "e\xCC\x81",
                                                           "\xEF\xB7\xBA",
                                                           "\xEF\xBC\xA1",
                                                           kProse}) {
    all.emplace_back(piece, repeat(piece));
  }
  std::mt19937 random(1);  // NOLINT: the same in every run
  std::string letters(kTextBytes, ' ');
  std::string ascii = letters;
  std::string few = letters;
  for (std::size_t i = 0; i < kTextBytes; ++i) {
    letters[i] = static_cast<char>('a' + random() % 26);
    ascii[i] = static_cast<char>(' ' + random() % 95);
    few[i] = "ab "[random() % 3];
  }
  all.emplace_back("letters", letters);
  all.emplace_back("ascii", ascii);
  all.emplace_back("few", few);
  // Nearly half as many characters as bytes, most of them unknown; and one space, that normalisation may replace.
  std::string unknown(48, 'a');
  for (int i = 0; i < 50; ++i) {
    unknown += "\xE6\xBC\xA2";
  }
  all.emplace_back("unknown", "a " + repeat(unknown));
  all.emplace_back("prose, then one word", repeat(kProse) + repeat("a"));
  return all;
}

// Models whose pieces or normalisation know no bounds at words.
bool is_hard_to_cut(const std::filesystem::path& folder) {
  return folder.filename() == "odd" || folder.filename() == "sentencepiece_unigram";
}

TEST_CASE("no text takes more memory than is said, and prose is said to take little") {
  std::size_t measured = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixture_path(""))) {
    auto loaded = entry.is_directory() ? load_tokenizer(entry.path()) : absl::NotFoundError("");
    if (!loaded.ok()) {
      continue;
    }
    const std::unique_ptr<Tokenizer> tokenizer = *std::move(loaded);
    for (const auto& [name, text] : texts()) {
      const std::size_t said = tokenizer->encode_memory(text);
      const std::size_t before = held;
      peak = before;
      const auto ids = tokenizer->encode(text, {.add_special = true, .parse_special = true});
      const std::size_t taken = peak - before;
      INFO(entry.path().filename() << " " << tokenizer->kind() << ": '" << name << "' takes " << taken << " of " << said
                                   << ", " << static_cast<double>(taken) / static_cast<double>(text.size())
                                   << " a byte");
      REQUIRE(ids.ok());
      CHECK(taken <= said + kSlack);
      if (name == kProse && !is_hard_to_cut(entry.path())) {
        CHECK(said < kProseFactor * text.size() + kRunBytes);
      }
      ++measured;
    }
  }
  CHECK(measured > 50);
}

}  // namespace
}  // namespace coppice::text
