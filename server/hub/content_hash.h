// The hash of a file's content as the Hub names it: SHA-256 for large files, git's name of a blob for the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace coppice::server {

enum class HashKind : std::uint8_t { kSha256, kGitBlob };

// Owner: the function that computes it. Thread: one.
class ContentHash {
 public:
  // `size`: bytes that will be added; a blob's name depends on it.
  ContentHash(HashKind kind, std::uint64_t size);
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;

  void add(std::string_view bytes);
  // Lower-case hexadecimal. Once, at the end.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coppice::server
