// TlsIdentity: the certificate chain and the private key that the server shows, as PEM text that was read and checked
// once, so that every front end gets the same and a bad file is found before it takes the place of a good one.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace coppice::server {

// A value. Empty: no TLS.
struct TlsIdentity {
  std::string certificate;
  std::string key;

  bool is_empty() const { return certificate.empty(); }
};

// Reads --tls-cert and --tls-key; both paths empty: no TLS. ERRORS: NotFound; InvalidArgument naming the flag: a file
// that is not PEM of its kind, a key behind a passphrase, a key of another certificate.
absl::StatusOr<TlsIdentity> load_tls_identity(const std::string& certificate_path, const std::string& key_path);

}  // namespace coppice::server
