#include "userspace/tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <time.h>

#include "userspace/tls/openssl.h"

namespace tollgate::tls {
namespace {

std::string name_of(const GENERAL_NAME& name) {
  if (name.type == GEN_DNS) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(name.d.dNSName)),
            static_cast<size_t>(ASN1_STRING_length(name.d.dNSName))};
  }
  if (name.type != GEN_IPADD) return {};
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(name.d.iPAddress) == 4 ? AF_INET : AF_INET6;
  const bool whole = family == AF_INET || ASN1_STRING_length(name.d.iPAddress) == 16;
  if (whole) ::inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text, sizeof text);
  return text;
}

std::string fingerprint_of(const X509& certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (X509_digest(&certificate, EVP_sha256(), digest, &length) != 1) return {};
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    if (i > 0) text += ':';
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 0xf];
  }
  return text;
}

struct FreeParts {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <typename T>
using Part = std::unique_ptr<T, FreeParts>;

}  // namespace

Result<CertificateFacts> read_certificate(const std::string& file) {
  ERR_clear_error();
  const Part<BIO> bytes(BIO_new_file(file.c_str(), "r"));
  const Part<X509> leaf(bytes ? PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr)
                              : nullptr);
  if (!leaf) {
    return Error{Fault::config, 0, "read certificate " + file + ": " + take_openssl_reason(),
                 "a PEM file that is there and begins with the gateway's certificate"};
  }
  CertificateFacts facts;
  facts.sha256 = fingerprint_of(*leaf);
  tm expires{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf.get()), &expires) == 1) {
    facts.expires_unix_s = ::timegm(&expires);
  }
  const Part<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(leaf.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    std::string name = name_of(*sk_GENERAL_NAME_value(names.get(), i));
    if (!name.empty()) facts.names.push_back(std::move(name));
  }
  return facts;
}

}  // namespace tollgate::tls
