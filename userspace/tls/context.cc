#include <arpa/inet.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
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

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
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

// One SSL_CTX for each certificate; SNI moves a connection from the first to the host's.
// Channels keep it: a reload may replace it while a handshake has not come to its SNI.
class OpensslServerContext final : public ServerContext,
                                   public std::enable_shared_from_this<OpensslServerContext> {
 public:
  using Hosts = std::map<std::string, Owned<SSL_CTX>, std::less<>>;

  OpensslServerContext(Owned<SSL_CTX> own, Owned<SSL_CTX> strict, Hosts hosts,
                       int64_t expires_unix_s, const KernelUse& kernel)
      : own_(std::move(own)),
        strict_(std::move(strict)),
        hosts_(std::move(hosts)),
        expires_unix_s_(expires_unix_s),
        kernel_(kernel) {
    SSL_CTX_set_tlsext_servername_arg(own_.get(), this);
    SSL_CTX_set_tlsext_servername_callback(own_.get(), choose_host);
    if (!strict_) return;
    SSL_CTX_set_tlsext_servername_arg(strict_.get(), this);
    SSL_CTX_set_tlsext_servername_callback(strict_.get(), require_host);
  }
  std::unique_ptr<Channel> make_channel() const override { return accept_by(own_.get()); }
  std::unique_ptr<Channel> make_intercepted_channel() const override {
    TG_ASSERT(strict_ != nullptr);
    return accept_by(strict_.get());
  }
  int64_t certificate_expires_unix_s() const override { return expires_unix_s_; }

 private:
  std::unique_ptr<Channel> accept_by(SSL_CTX* context) const {
    Owned<SSL> ssl(SSL_new(context));
    TG_ASSERT(ssl != nullptr);
    SSL_set_accept_state(ssl.get());
    return make_openssl_channel(std::move(ssl), kernel_, shared_from_this());
  }
  // OpenSSL calls these for every handshake, also for one without SNI.
  static int choose_host(SSL* ssl, int*, void* self) {
    static_cast<const OpensslServerContext*>(self)->take_host(ssl);
    return SSL_TLSEXT_ERR_OK;
  }
  static int require_host(SSL* ssl, int* alert, void* self) {
    if (static_cast<const OpensslServerContext*>(self)->take_host(ssl)) return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  bool take_host(SSL* ssl) const {
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == nullptr) return false;
    const auto host = hosts_.find(lower_case(name));
    if (host == hosts_.end()) return false;
    return SSL_set_SSL_CTX(ssl, host->second.get()) != nullptr;
  }

  Owned<SSL_CTX> own_;
  Owned<SSL_CTX> strict_;  // null: nothing is intercepted
  Hosts hosts_;
  int64_t expires_unix_s_;
  KernelUse kernel_;
};

class OpensslClientContext final : public ClientContext {
 public:
  OpensslClientContext(Owned<SSL_CTX> context, std::string host, const KernelUse& kernel)
      : context_(std::move(context)), host_(std::move(host)), kernel_(kernel) {}

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
    return make_openssl_channel(std::move(ssl), kernel_);
  }

 private:
  Owned<SSL_CTX> context_;
  std::string host_;
  KernelUse kernel_;
};

// The context of one certificate, ready to accept.
Result<Owned<SSL_CTX>> make_accepting(const std::string& certificate,
                                      const std::string& private_key, const KernelUse& kernel) {
  ERR_clear_error();
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  if (!context || !set_common(context.get())) return config_error("set up TLS", {});
  SSL_CTX* raw = context.get();
  if (kernel.any()) pass_secrets_to_channels(raw);
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
  return context;
}

int64_t expiry_of(const Owned<SSL_CTX>& context) {
  return unix_seconds(X509_get0_notAfter(SSL_CTX_get0_certificate(context.get())));
}

}  // namespace

Result<std::shared_ptr<const ServerContext>> make_server_context(
    const std::string& certificate, const std::string& private_key, const KernelUse& kernel,
    const std::vector<HostCertificate>& hosts) {
  auto own = make_accepting(certificate, private_key, kernel);
  if (!own) return std::move(own).forward();
  int64_t expires = expiry_of(*own);
  OpensslServerContext::Hosts contexts;
  for (const HostCertificate& host : hosts) {
    auto context = make_accepting(host.certificate, host.private_key, kernel);
    if (!context) return std::move(context).forward();
    if (X509_check_host(SSL_CTX_get0_certificate(context->get()), host.host.c_str(), 0, 0,
                        nullptr) != 1) {
      return config_error("certificate " + host.certificate + " is not for " + host.host,
                          "issue one whose subjectAltName has DNS:" + host.host);
    }
    expires = std::min(expires, expiry_of(*context));
    contexts.emplace(host.host, std::move(*context));
  }
  Owned<SSL_CTX> strict;
  if (!hosts.empty()) {
    auto made = make_accepting(hosts.front().certificate, hosts.front().private_key, kernel);
    if (!made) return std::move(made).forward();
    strict = std::move(*made);
  }
  return std::shared_ptr<const ServerContext>(std::make_shared<OpensslServerContext>(
      std::move(*own), std::move(strict), std::move(contexts), expires, kernel));
}

Result<std::shared_ptr<const ClientContext>> make_client_context(const std::string& host,
                                                                 const std::string& ca_file,
                                                                 const KernelUse& kernel) {
  ERR_clear_error();
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  if (!context || !set_common(context.get())) return config_error("set up TLS", {});
  SSL_CTX* raw = context.get();
  if (kernel.any()) pass_secrets_to_channels(raw);
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
      std::make_shared<OpensslClientContext>(std::move(context), host, kernel));
}

}  // namespace tollgate::tls
