// Reading and checking PEM files.
#include "server/net/tls_identity.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstddef>
#include <memory>

#include "base/file.h"
#include "base/status_macros.h"

namespace coppice::server {
namespace {

constexpr std::size_t kPemBytesMax = std::size_t{1} << 20;  // far more than any chain of certificates

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;
using Certificate = std::unique_ptr<X509, FreeCertificate>;
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;

Bio bio_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// No passphrase can be asked for; `asked` is a bool.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*is_writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

absl::StatusOr<std::string> read_pem(const char* flag, const std::string& path) {
  absl::StatusOr<std::string> text = base::read_file(path, kPemBytesMax);
  if (!text.ok()) {
    return absl::Status(text.status().code(), fmt::format("{} {}", flag, std::string(text.status().message())));
  }
  return text;
}

absl::StatusOr<Certificate> parse_certificate(const std::string& text, const std::string& path) {
  Certificate certificate(PEM_read_bio_X509(bio_of(text).get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(fmt::format("--tls-cert {}: holds no PEM certificate", path));
  }
  return certificate;
}

absl::StatusOr<Key> parse_key(const std::string& text, const std::string& path) {
  bool is_encrypted = false;
  Key key(PEM_read_bio_PrivateKey(bio_of(text).get(), nullptr, no_passphrase, &is_encrypted));
  if (key == nullptr) {
    const char* const problem =
        is_encrypted ? "the key is encrypted with a passphrase; give it without one (openssl pkey -in KEY -out PLAIN)"
                     : "holds no PEM private key";
    return absl::InvalidArgumentError(fmt::format("--tls-key {}: {}", path, problem));
  }
  return key;
}

}  // namespace

absl::StatusOr<TlsIdentity> load_tls_identity(const std::string& certificate_path, const std::string& key_path) {
  if (certificate_path.empty() != key_path.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together; one of them is missing");
  }
  TlsIdentity identity;
  if (certificate_path.empty()) {
    return identity;
  }
  COPPICE_ASSIGN_OR_RETURN(identity.certificate, read_pem("--tls-cert", certificate_path));
  COPPICE_ASSIGN_OR_RETURN(identity.key, read_pem("--tls-key", key_path));
  const absl::StatusOr<Certificate> certificate = parse_certificate(identity.certificate, certificate_path);
  const absl::StatusOr<Key> key = parse_key(identity.key, key_path);
  const bool belongs = certificate.ok() && key.ok() && X509_check_private_key(certificate->get(), key->get()) == 1;
  ERR_clear_error();  // what failed here must not be taken for a failure of a later call
  COPPICE_RETURN_IF_ERROR(certificate.status());
  COPPICE_RETURN_IF_ERROR(key.status());
  if (!belongs) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-key {}: not the key of the certificate in {}", key_path, certificate_path));
  }
  return identity;
}

}  // namespace coppice::server
