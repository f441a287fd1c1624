// Asio's acceptor, OpenSSL's callbacks.
#include "server/grpc/proxy/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string_view>
#include <utility>

namespace coppice::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr std::string_view kH2 = "\x02h2";  // an ALPN name with its length before it
constexpr int kShedMax = 1024;              // connections closed at a time: what may have queued meanwhile, and an end

std::string address_text(const std::string& host, std::int32_t port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

absl::StatusOr<tcp::endpoint> resolve(asio::io_context& io, const std::string& host, std::int32_t port) {
  boost::system::error_code error;
  const asio::ip::address address = asio::ip::make_address(host, error);
  if (!error) {
    return tcp::endpoint(address, static_cast<std::uint16_t>(port));
  }
  tcp::resolver resolver(io);
  const tcp::resolver::results_type found = resolver.resolve(host, fmt::format("{}", port), error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("--host {}: {}; give an address of this machine such as 127.0.0.1", host, error.message()));
  }
  return found.begin()->endpoint();
}

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

absl::StatusOr<tcp::acceptor> listen_on(asio::io_context& io, const std::string& host, std::int32_t port) {
  const absl::StatusOr<tcp::endpoint> endpoint = resolve(io, host, port);
  if (!endpoint.ok()) {
    return endpoint.status();
  }
  tcp::acceptor acceptor(io);
  boost::system::error_code error;
  const auto failed = [&] {
    return absl::InvalidArgumentError(
        fmt::format("--grpc-port {}: cannot listen on {}: {}; choose another --grpc-port or --host", port,
                    address_text(host, port), error.message()));
  };
  acceptor.open(endpoint->protocol(), error);
  if (error) {
    return failed();
  }
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  acceptor.bind(*endpoint, error);
  if (error) {
    return failed();
  }
  acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return failed();
  }
  acceptor.native_non_blocking(true, error);  // for SpareHandle
  return acceptor;
}

absl::StatusOr<std::shared_ptr<asio::ssl::context>> make_h2_tls(const std::string& certificate,
                                                                const std::string& key) {
  auto tls = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression | SSL_OP_NO_RENEGOTIATION,
                   error);
  // A key with a pass phrase must not ask for it on the terminal.
  tls->set_password_callback([](std::size_t, asio::ssl::context::password_purpose) { return std::string(); }, error);
  tls->use_certificate_chain(asio::buffer(certificate), error);
  if (error) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-cert: {}; give a PEM certificate chain, together with --tls-key", error.message()));
  }
  tls->use_private_key(asio::buffer(key), asio::ssl::context::pem, error);
  if (error) {
    return absl::InvalidArgumentError(
        fmt::format("--tls-key: {}; give the PEM private key of --tls-cert, without a pass phrase", error.message()));
  }
  SSL_CTX_set_alpn_select_cb(tls->native_handle(), select_h2, nullptr);
  SSL_CTX_set_client_hello_cb(tls->native_handle(), demand_alpn, nullptr);
  return tls;
}

SpareHandle::SpareHandle() {
  open();
}

SpareHandle::~SpareHandle() {
  if (handle_ >= 0) {
    close(handle_);
  }
}

void SpareHandle::open() {
  handle_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int SpareHandle::shed(int listener) {
  if (handle_ >= 0) {
    close(handle_);
    handle_ = -1;
  }
  int count = 0;
  while (count < kShedMax) {
    const int handle = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (handle < 0) {
      break;
    }
    close(handle);
    ++count;
  }
  open();
  return count;
}

}  // namespace coppice::server
