// Certificates and keys: the good, and everything that a wrong file may be.
#include "server/net/tls_identity.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>

namespace coppice::server {
namespace {

// A self-signed certificate and its key, as files; the key once more behind a passphrase.
class Files {
 public:
  Files() : folder_(std::filesystem::temp_directory_path() / ("coppice_tls_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_pubkey(certificate, key);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_sign(certificate, key, EVP_sha256());
    BIO* file = BIO_new_file(path("cert").c_str(), "w");
    PEM_write_bio_X509(file, certificate);
    BIO_free(file);
    file = BIO_new_file(path("key").c_str(), "w");
    PEM_write_bio_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    BIO_free(file);
    file = BIO_new_file(path("secret-key").c_str(), "w");
    PEM_write_bio_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "word", 4, nullptr, nullptr);
    BIO_free(file);
    EVP_PKEY* other = EVP_EC_gen("P-256");
    file = BIO_new_file(path("other-key").c_str(), "w");
    PEM_write_bio_PrivateKey(file, other, nullptr, nullptr, 0, nullptr, nullptr);
    BIO_free(file);
    std::ofstream(path("text")) << "no PEM\n";
    REQUIRE(mkfifo(path("fifo").c_str(), S_IRUSR | S_IWUSR) == 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    X509_free(certificate);
  }
  ~Files() { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).string(); }

 private:
  const std::filesystem::path folder_;
};

}  // namespace

TEST_CASE("a certificate and its key", "[tls]") {
  const Files files;
  const absl::StatusOr<TlsIdentity> identity = load_tls_identity(files.path("cert"), files.path("key"));
  REQUIRE(identity.ok());
  CHECK(identity->certificate.find("BEGIN CERTIFICATE") != std::string::npos);
  CHECK(identity->key.find("PRIVATE KEY") != std::string::npos);
  CHECK(load_tls_identity("", "")->is_empty());
}

TEST_CASE("files that are no identity are refused by flag", "[tls]") {
  const Files files;
  const auto message = [&](const char* certificate, const char* key) {
    const absl::Status status = load_tls_identity(files.path(certificate), files.path(key)).status();
    CHECK((status.code() == absl::StatusCode::kInvalidArgument || status.code() == absl::StatusCode::kNotFound));
    return std::string(status.message());
  };
  CHECK_THAT(message("cert", "secret-key"), Catch::Contains("--tls-key") && Catch::Contains("passphrase"));
  CHECK_THAT(message("cert", "other-key"), Catch::Contains("not the key of the certificate"));
  CHECK_THAT(message("cert", "text"), Catch::Contains("--tls-key") && Catch::Contains("no PEM private key"));
  CHECK_THAT(message("cert", "cert"), Catch::Contains("no PEM private key"));
  CHECK_THAT(message("text", "key"), Catch::Contains("--tls-cert") && Catch::Contains("no PEM certificate"));
  CHECK_THAT(message("key", "key"), Catch::Contains("no PEM certificate"));
  CHECK_THAT(message("fifo", "key"), Catch::Contains("--tls-cert") && Catch::Contains("not a regular file"));
  CHECK_THAT(message("cert", "none"), Catch::Contains("--tls-key"));
  CHECK_FALSE(load_tls_identity(files.path("cert"), "").ok());
}

}  // namespace coppice::server
