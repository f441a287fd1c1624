// TLS as the listeners offer it: 1.2 and 1.3, without compression and renegotiation.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "absl/status/statusor.h"
#include "server/net/tls_identity.h"

namespace coppice::server {

// kHttp2: a client must offer it by ALPN, or the handshake fails.
enum class TlsProtocol : std::uint8_t { kHttp1, kHttp2 };

// Null for an empty identity. ERRORS: InvalidArgument naming the flag: what load_tls_identity() would have found.
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const TlsIdentity& identity,
                                                                            TlsProtocol protocol);

}  // namespace coppice::server
