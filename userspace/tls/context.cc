#include <arpa/inet.h>
#include <time.h>

#include <array>
#include <utility>

#include "userspace/base/ip.h"
#include "userspace/tls/openssl.h"

namespace tollgate::tls {
namespace {

// ALPN's wire form: length, then the name (RFC 7301).
constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

Error config_error(std::string text, std::string hint) {
  const std::string reason = take_openssl_reason();
  if (!reason.empty()) text += ": " + reason;
  return {Fault::config, 0, std::move(text), std::move(hint)};
}

// What both sides have in common: versions, AEAD suites, cheap groups first, small idle memory.
bool set_common(SSL_CTX* context) {
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context,
                                  "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                  "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
         SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
         SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                unsigned int in_length, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, kHttp11, sizeof kHttp11, in, in_length) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int64_t unix_seconds(const ASN1_TIME* time) {
  tm broken_down{};
  return ASN1_TIME_to_tm(time, &broken_down) == 1 ? ::timegm(&broken_down) : 0;
}

// OpenSSL reads a certificate's extensions at its first use and keeps them. Done here, the trusted
// ones are complete before several threads verify against them at once.
void complete_trusted(SSL_CTX* context) {
  const STACK_OF(X509_OBJECT)* objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    X509* certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
    if (certificate != nullptr) X509_check_purpose(certificate, -1, 0);
  }
}

class OpensslServerContext final : public ServerContext {
 public:
  OpensslServerContext(Owned<SSL_CTX> context, int64_t expires_unix_s)
      : context_(std::move(context)), expires_unix_s_(expires_unix_s) {}
  std::unique_ptr<Channel> make_channel() const override {
    Owned<SSL> ssl(SSL_new(context_.get()));
    TG_ASSERT(ssl != nullptr);
    SSL_set_accept_state(ssl.get());
    return make_openssl_channel(std::move(ssl));
  }
  int64_t certificate_expires_unix_s() const override { return expires_unix_s_; }

 private:
  Owned<SSL_CTX> context_;
  int64_t expires_unix_s_;
};

class OpensslClientContext final : public ClientContext {
 public:
  OpensslClientContext(Owned<SSL_CTX> context, std::string host)
      : context_(std::move(context)), host_(std::move(host)) {}

  std::unique_ptr<Channel> make_channel() const override {
    Owned<SSL> ssl(SSL_new(context_.get()));
    TG_ASSERT(ssl != nullptr);
    if (parse_ip(host_)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host_.c_str());
    } else {
      SSL_set_tlsext_host_name(ssl.get(), host_.c_str());
      SSL_set1_host(ssl.get(), host_.c_str());
      SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    }
    SSL_set_connect_state(ssl.get());
    return make_openssl_channel(std::move(ssl));
  }

 private:
  Owned<SSL_CTX> context_;
  std::string host_;
};

}  // namespace

Result<std::shared_ptr<const ServerContext>> make_server_context(const std::string& certificate,
                                                                 const std::string& private_key) {
  ERR_clear_error();
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  if (!context || !set_common(context.get())) return config_error("set up TLS", {});
  SSL_CTX* raw = context.get();
  // The client never resumes, and tickets cost a fifth of the handshake.
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(raw, select_alpn, nullptr);
  if (SSL_CTX_use_certificate_chain_file(raw, certificate.c_str()) != 1) {
    return config_error("load certificate " + certificate,
                        "a PEM file: the server's certificate first, then its chain");
  }
  if (SSL_CTX_use_PrivateKey_file(raw, private_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return config_error("load private key " + private_key, "a PEM file that belongs to " +
                                                               certificate +
                                                               " and that the gateway's "
                                                               "user may read");
  }
  if (SSL_CTX_check_private_key(raw) != 1) {
    return config_error("private key " + private_key + " does not belong to " + certificate, {});
  }
  const X509* leaf = SSL_CTX_get0_certificate(raw);
  const int64_t expires = unix_seconds(X509_get0_notAfter(leaf));
  return std::shared_ptr<const ServerContext>(
      std::make_shared<OpensslServerContext>(std::move(context), expires));
}

Result<std::shared_ptr<const ClientContext>> make_client_context(const std::string& host,
                                                                 const std::string& ca_file) {
  ERR_clear_error();
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  if (!context || !set_common(context.get())) return config_error("set up TLS", {});
  SSL_CTX* raw = context.get();
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  const bool trusted = ca_file.empty()
                           ? SSL_CTX_set_default_verify_paths(raw) == 1
                           : SSL_CTX_load_verify_locations(raw, ca_file.c_str(), nullptr) == 1;
  if (!trusted) {
    return config_error("load the provider's CA " + ca_file,
                        "a PEM file, or leave ca_file out for the system's roots");
  }
  complete_trusted(raw);
  // Connections are pooled; sessions are not shared between the workers.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_alpn_protos(raw, kHttp11, sizeof kHttp11) != 0) {
    return config_error("set up ALPN", {});
  }
  return std::shared_ptr<const ClientContext>(
      std::make_shared<OpensslClientContext>(std::move(context), host));
}

}  // namespace tollgate::tls
