// Certificates made for a test: an EC P-256 authority and leaves, written to a folder that goes
// with the object. None is committed.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

namespace tollgate::tls {

class Certificates {
 public:
  Certificates() {
    char folder[] = "/tmp/tollgate-tls-XXXXXX";
    folder_ = ::mkdtemp(folder);
    authority_key_ = EVP_EC_gen("P-256");
    authority_ = make("Test authority", authority_key_, nullptr, true, 3600);
    write_certificate(ca(), authority_);
    write_leaf("server", "gw.test", 3600);
    write_leaf("expired", "gw.test", -60);
    write_leaf("provider", "api.provider.test", 1800);
  }
  ~Certificates() {
    X509_free(authority_);
    EVP_PKEY_free(authority_key_);
    std::filesystem::remove_all(folder_);
  }
  Certificates(const Certificates&) = delete;

  std::string ca() const { return folder_ + "/ca.pem"; }
  std::string certificate(const std::string& name = "server") const {
    return folder_ + "/" + name + ".pem";
  }
  std::string key(const std::string& name = "server") const {
    return folder_ + "/" + name + ".key";
  }

 private:
  X509* make(const char* name, EVP_PKEY* key, const char* host, bool is_ca, long seconds) {
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(made), -7200);
    X509_gmtime_adj(X509_getm_notAfter(made), seconds);
    X509_set_pubkey(made, key);
    X509_NAME* subject = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(
        made, is_ca ? subject : X509_get_subject_name(static_cast<const X509*>(authority_)));
    X509V3_CTX context;
    X509V3_set_ctx(&context, is_ca ? made : authority_, made, nullptr, nullptr, 0);
    extend(made, context, NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (host != nullptr) {
      extend(made, context, NID_subject_alt_name, (std::string("DNS:") + host).c_str());
    }
    X509_sign(made, authority_key_, EVP_sha256());
    return made;
  }
  static void extend(X509* to, X509V3_CTX& context, int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    X509_add_ext(to, extension, -1);
    X509_EXTENSION_free(extension);
  }
  void write_leaf(const std::string& name, const char* host, long seconds) {
    EVP_PKEY* leaf_key = EVP_EC_gen("P-256");
    X509* leaf = make(host, leaf_key, host, false, seconds);
    write_certificate(certificate(name), leaf);
    FILE* file = ::fopen(key(name).c_str(), "we");
    PEM_write_PrivateKey(file, leaf_key, nullptr, nullptr, 0, nullptr, nullptr);
    ::fclose(file);
    X509_free(leaf);
    EVP_PKEY_free(leaf_key);
  }
  static void write_certificate(const std::string& path, X509* certificate) {
    FILE* file = ::fopen(path.c_str(), "we");
    PEM_write_X509(file, certificate);
    ::fclose(file);
  }

  std::string folder_;
  EVP_PKEY* authority_key_ = nullptr;
  X509* authority_ = nullptr;
  long serial_ = 0;
};

}  // namespace tollgate::tls
