#include "tests/bench/common/tls_context.h"

#include <array>

#include "tests/bench/common/start.h"

namespace tollgate::bench {
namespace {

constexpr std::array<unsigned char, 9> kAlpn = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

int choose_alpn(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* match = nullptr;
  int result = ::SSL_select_next_proto(&match, chosen_size, kAlpn.data(), kAlpn.size(), offered,
                                       offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

TlsContext make_context(const SSL_METHOD* method) {
  TlsContext context(::SSL_CTX_new(method));
  if (!context) die("create a TLS context: out of memory");
  // Buffers are released between records: thousands of open streams are held by one process.
  ::SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
  ::SSL_CTX_set_read_ahead(context.get(), 1);
  return context;
}

}  // namespace

TlsContext make_server_context(const std::string& certificate, const std::string& private_key) {
  TlsContext context = make_context(::TLS_server_method());
  if (::SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) != 1)
    die("read the certificate: " + certificate);
  if (::SSL_CTX_use_PrivateKey_file(context.get(), private_key.c_str(), SSL_FILETYPE_PEM) != 1)
    die("read the private key: " + private_key);
  ::SSL_CTX_set_alpn_select_cb(context.get(), choose_alpn, nullptr);
  return context;
}

TlsContext make_client_context() {
  TlsContext context = make_context(::TLS_client_method());
  ::SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  ::SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  ::SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  ::SSL_CTX_set_alpn_protos(context.get(), kAlpn.data(), kAlpn.size());
  return context;
}

}  // namespace tollgate::bench
