#include "tests/support/tls_peer.hpp"

#include <array>
#include <stdexcept>
#include <string_view>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace culvert::test {

struct TlsPeer::Impl {
  SSL_CTX* ctx = nullptr;
  SSL* ssl = nullptr;
  BIO *in = nullptr, *out = nullptr;
  std::string alert;
  ~Impl() {
    SSL_free(ssl);
    SSL_CTX_free(ctx);
  }
  [[nodiscard]] bool is_13() const { return SSL_version(ssl) == TLS1_3_VERSION; }
  [[nodiscard]] Bytes output() const {
    Bytes all(BIO_ctrl_pending(out));
    if (!all.empty()) BIO_read(out, all.data(), static_cast<int>(all.size()));
    return all;
  }
};

namespace {
void need(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}
X509* x509_of(ByteView der) {
  const unsigned char* at = der.data();
  X509* x = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  need(x != nullptr, "a certificate of the test");
  return x;
}
}  // namespace

TlsPeer::TlsPeer(const How& how) : impl_(std::make_unique<Impl>()) {
  impl_->ctx = SSL_CTX_new(how.server ? TLS_server_method() : TLS_client_method());
  need(impl_->ctx != nullptr, "SSL_CTX_new");
  SSL_CTX* ctx = impl_->ctx;
  SSL_CTX_set_security_level(ctx, 0);
  SSL_CTX_set_min_proto_version(ctx, how.low);
  SSL_CTX_set_max_proto_version(ctx, how.high);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(ctx, 0);
  if (!how.ciphers.empty()) need(SSL_CTX_set_cipher_list(ctx, how.ciphers.c_str()) == 1, "ciphers");
  for (std::size_t i = 0; i < how.chain.size(); ++i) {
    X509* x = x509_of(how.chain[i].der);
    if (i == 0) {
      const Bytes der = pki::private_der(*how.chain[0].key);
      const unsigned char* at = der.data();
      EVP_PKEY* key = d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size()));
      need(key && SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1, "its own key");
      EVP_PKEY_free(key);
      X509_free(x);
    } else {
      SSL_CTX_add_extra_chain_cert(ctx, x);
    }
  }
  if (how.trusts.empty()) {
    SSL_CTX_set_verify(ctx, how.server ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, [](int, X509_STORE_CTX*) { return 1; });
  } else {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    BIO* text = BIO_new_mem_buf(how.trusts.data(), static_cast<int>(how.trusts.size()));
    X509* anchor = PEM_read_bio_X509(text, nullptr, nullptr, nullptr);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), anchor);
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(ctx), pki::kNow.time_since_epoch().count());
    X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(ctx), X509_PURPOSE_ANY);
    X509_free(anchor);
    BIO_free(text);
  }
  impl_->ssl = SSL_new(ctx);
  need(impl_->ssl != nullptr, "SSL_new");
  impl_->in = BIO_new(BIO_s_mem());
  impl_->out = BIO_new(BIO_s_mem());
  SSL_set_bio(impl_->ssl, impl_->in, impl_->out);
  SSL_set_app_data(impl_->ssl, impl_.get());
  SSL_set_info_callback(impl_->ssl, [](const SSL* ssl, int where, int value) {
    if (where == SSL_CB_READ_ALERT) static_cast<Impl*>(SSL_get_app_data(ssl))->alert = SSL_alert_desc_string_long(value);
  });
  how.server ? SSL_set_accept_state(impl_->ssl) : SSL_set_connect_state(impl_->ssl);
}

TlsPeer::~TlsPeer() { ERR_clear_error(); }

Bytes TlsPeer::step(ByteView input) {
  ERR_clear_error();
  if (!input.empty()) BIO_write(impl_->in, input.data(), static_cast<int>(input.size()));
  if (!done_) done_ = SSL_do_handshake(impl_->ssl) == 1;
  std::array<std::uint8_t, 64> said{};
  if (done_)
    for (int n = 0; (n = SSL_read(impl_->ssl, said.data(), static_cast<int>(said.size()))) > 0;)
      heard_.insert(heard_.end(), said.begin(), said.begin() + n);
  ERR_clear_error();
  return impl_->output();
}

Bytes TlsPeer::say(ByteView data) {
  need(SSL_write(impl_->ssl, data.data(), static_cast<int>(data.size())) > 0, "SSL_write");
  return impl_->output();
}

std::string TlsPeer::alert() const { return impl_->alert; }

Bytes TlsPeer::msk() const {
  const std::string_view label = impl_->is_13() ? "EXPORTER_EAP_TLS_Key_Material" : "client EAP encryption";
  const std::uint8_t type = 13;
  Bytes out(128);
  need(SSL_export_keying_material(impl_->ssl, out.data(), out.size(), label.data(), label.size(), &type, impl_->is_13() ? 1 : 0,
                                  impl_->is_13() ? 1 : 0) == 1,
       "SSL_export_keying_material");
  out.resize(64);
  return out;
}

std::vector<std::string> TlsPeer::asked_for() const {
  std::vector<std::string> out;
  const STACK_OF(X509_NAME)* names = SSL_get0_peer_CA_list(impl_->ssl);
  for (int i = 0; names != nullptr && i < sk_X509_NAME_num(names); ++i) {
    std::array<char, 256> text{};
    X509_NAME_oneline(sk_X509_NAME_value(names, i), text.data(), static_cast<int>(text.size()));
    out.emplace_back(text.data());
  }
  return out;
}

}  // namespace culvert::test
