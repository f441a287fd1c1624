// OpenSSL's options and callbacks.
#include "server/net/tls_context.h"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <string_view>

namespace coppice::server {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kH2 = "\x02h2";  // an ALPN name with its length before it

// Takes h2 out of what the client offers; ends the handshake when it is not there.
int select_h2(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
              unsigned offered_size, void* /*context*/) {
  unsigned char* selected = nullptr;
  const auto* const wanted = reinterpret_cast<const unsigned char*>(kH2.data());
  if (SSL_select_next_proto(&selected, out_size, wanted, static_cast<unsigned>(kH2.size()), offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

// Ends the handshake of a client without ALPN: select_h2() is not asked then.
int demand_alpn(SSL* ssl, int* alert, void* /*context*/) {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data, &size) == 1) {
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

}  // namespace

absl::StatusOr<std::shared_ptr<asio::ssl::context>> make_tls_context(const TlsIdentity& identity,
                                                                     TlsProtocol protocol) {
  if (identity.is_empty()) {
    return nullptr;
  }
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression | SSL_OP_NO_RENEGOTIATION,
                   error);
  // A key with a pass phrase must not ask for it on the terminal.
  tls->set_password_callback([](std::size_t, asio::ssl::context::password_purpose) { return std::string(); }, error);
  tls->use_certificate_chain(asio::buffer(identity.certificate), error);
  if (error) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-cert: {}; give a PEM certificate chain, together with --tls-key", error.message()));
  }
  tls->use_private_key(asio::buffer(identity.key), asio::ssl::context::pem, error);
  if (error) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-key: {}; give the PEM private key of --tls-cert, without a pass phrase", error.message()));
  }
  if (protocol == TlsProtocol::kHttp2) {
    SSL_CTX_set_alpn_select_cb(tls->native_handle(), select_h2, nullptr);
    SSL_CTX_set_client_hello_cb(tls->native_handle(), demand_alpn, nullptr);
  }
  return tls;
}

}  // namespace coppice::server
