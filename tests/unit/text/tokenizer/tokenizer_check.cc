// coppice_tokenizer_check FOLDER EXPECTED [CORPUS]: compares a tokenizer with what Hugging Face's libraries gave for
// the same folder (files made by tools/make_tokenizer_fixtures.py), and times it. Exit status 1 on any mismatch.
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/unit/text/tokenizer/expectations.h"
#include "text/tokenizer/tokenizer.h"

namespace {

using coppice::text::Expectations;
using coppice::text::Tokenizer;

double encode_megabytes_per_second(const Tokenizer& tokenizer, const std::vector<std::string>& corpus) {
  std::size_t bytes = 0;
  std::size_t tokens = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& text : corpus) {
    bytes += text.size();
    tokens += tokenizer.encode(text, {}).value().size();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  std::printf("%zu bytes, %zu tokens\n", bytes, tokens);
  return static_cast<double>(bytes) / elapsed.count() / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: coppice_tokenizer_check FOLDER EXPECTED [CORPUS]\n");
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto tokenizer = coppice::text::load_tokenizer(argv[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", std::string(tokenizer.status().message()).c_str());
    return 1;
  }
  const std::chrono::duration<double> load = std::chrono::steady_clock::now() - begin;
  const Expectations expected = coppice::text::read_expectations(argv[2], argc > 3 ? argv[3] : "");
  const coppice::text::Comparison comparison = coppice::text::compare(**tokenizer, expected, 10);
  for (const std::string& line : comparison.mismatches) {
    std::printf("%s\n", line.c_str());
  }
  std::printf("%zu comparisons, %zu mismatches; loaded in %.3f s, encodes %.1f MB/s\n", comparison.count,
              comparison.mismatch_count, load.count(), encode_megabytes_per_second(**tokenizer, expected.corpus));
  return comparison.mismatch_count == 0 ? 0 : 1;
}
