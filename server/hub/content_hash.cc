// OpenSSL's digests.
#include "server/hub/content_hash.h"

#include <openssl/evp.h>

#include <array>

#include "base/check.h"
#include "fmt/format.h"

namespace coppice::server {

struct ContentHash::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

ContentHash::ContentHash(HashKind kind, std::uint64_t size) : state_(std::make_unique<State>()) {
  const EVP_MD* const digest = kind == HashKind::kSha256 ? EVP_sha256() : EVP_sha1();
  COPPICE_CHECK(state_->context != nullptr && EVP_DigestInit_ex(state_->context, digest, nullptr) == 1,
                "OpenSSL has its digests");
  if (kind == HashKind::kGitBlob) {
    const std::string head = fmt::format("blob {}", size);
    add(std::string_view(head.c_str(), head.size() + 1));  // with the zero byte
  }
}

ContentHash::~ContentHash() {
  EVP_MD_CTX_free(state_->context);
}

void ContentHash::add(std::string_view bytes) {
  COPPICE_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1, "a digest takes any bytes");
}

std::string ContentHash::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  COPPICE_CHECK(EVP_DigestFinal_ex(state_->context, digest.data(), &size) == 1, "a digest ends once");
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += fmt::format("{:02x}", digest[i]);
  }
  return hex;
}

}  // namespace coppice::server
