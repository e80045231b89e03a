#include "control/crypto/tls.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <openssl/ssl.h>

#include "control/crypto/signature_impl.hpp"
#include "control/crypto/x509_impl.hpp"

namespace culvert::crypto {

using namespace detail;

namespace {

using CtxPtr = Owned<SSL_CTX, SSL_CTX_free>;
using SslPtr = Owned<SSL, SSL_free>;
using StackPtr = Owned<STACK_OF(X509), [](STACK_OF(X509) * s) { sk_X509_free(s); }>;
using NamesPtr = Owned<STACK_OF(X509_NAME), [](STACK_OF(X509_NAME) * s) { sk_X509_NAME_pop_free(s, X509_NAME_free); }>;

constexpr std::size_t kMsk = 64, kKeyMaterial = 128;
constexpr std::uint8_t kEapTlsType = 13;
constexpr std::size_t kMaxAuthorityNames = 8192;  // bytes of a CertificateRequest: not every client takes more than 16 KB

X509* x509_of(const Certificate& c) { return const_cast<X509*>(c.impl().x509.get()); }  // the library counts references in it

Bytes take_all(BIO* bio) {
  Bytes out(BIO_ctrl_pending(bio));
  if (!out.empty() && BIO_read(bio, out.data(), static_cast<int>(out.size())) != static_cast<int>(out.size()))
    throw LibraryError("BIO_read");
  return out;
}

/// Which alert the peer gets (RFC 8446 §6.2): the library makes it of its own errors.
int error_for(const Refusal& why, const Certificate* end, WallTime now) {
  switch (why.reason) {
    case ike::Reason::CertUntrusted:
      return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;  // unknown CA
    case ike::Reason::WrongIdentity:
      return X509_V_ERR_SUBJECT_ISSUER_MISMATCH;  // certificate unknown
    case ike::Reason::Internal:
      return X509_V_ERR_OUT_OF_MEM;  // internal error
    default:
      return end != nullptr && now > end->not_after() ? X509_V_ERR_CERT_HAS_EXPIRED : X509_V_ERR_CERT_REJECTED;
  }
}

/// What the library gives as its reason, in words that say more than that where that is usual.
std::string why_failed() {
  const unsigned long error = ERR_peek_error();
  switch (ERR_GET_REASON(error)) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
      return "the two sides have no version of TLS in common: here it is 1.2 and 1.3";
    case SSL_R_NO_SHARED_CIPHER:
      return "the two sides have no cipher of TLS in common";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "it has sent no certificate";
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
      return "a message of it is longer than is taken here";
    default:
      break;
  }
  const char* text = error == 0 ? nullptr : ERR_reason_error_string(error);
  return std::string("TLS fails: ") + (text != nullptr ? text : "its messages are none of a handshake");
}

void offer_own(SSL_CTX* ctx, std::span<const Certificate> chain, EVP_PKEY* key) {
  const StackPtr others(must_have(sk_X509_new_null(), "sk_X509_new_null"));
  for (const Certificate& c : chain.subspan(1))
    if (sk_X509_push(others.get(), x509_of(c)) == 0) throw LibraryError("sk_X509_push");
  must(SSL_CTX_use_cert_and_key(ctx, x509_of(chain.front()), key, others.get(), 1), "SSL_CTX_use_cert_and_key");
}

/// Whose certificates a client is asked for; where they are too many, it is left to guess.
void ask_for(SSL_CTX* ctx, std::span<const Certificate> authorities) {
  std::size_t size = 0;
  for (const Certificate& c : authorities) size += c.subject().size() + 2;
  if (size > kMaxAuthorityNames) return;
  NamesPtr names(must_have(sk_X509_NAME_new_null(), "sk_X509_NAME_new_null"));
  for (const Certificate& c : authorities) {
    Owned<X509_NAME, X509_NAME_free> name(must_have(X509_NAME_dup(X509_get_subject_name(x509_of(c))), "X509_NAME_dup"));
    if (sk_X509_NAME_push(names.get(), name.get()) == 0) throw LibraryError("sk_X509_NAME_push");
    name.release();
  }
  SSL_CTX_set_client_CA_list(ctx, names.release());
}

}  // namespace

struct Tls::Impl {
  bool server = false;
  WallTime now;
  Judge judge;
  CtxPtr ctx;
  SslPtr ssl;
  BIO *in = nullptr, *out = nullptr;  // the session's
  std::optional<Refusal> refusal;     // of the peer's certificates
  std::string alert;                  // the peer's
  bool proven = false, concluded = false, over = false;

  static int verify(X509_STORE_CTX* store, void* self) { return static_cast<Impl*>(self)->judged(store); }
  static void note(const SSL* ssl, int where, int value) {
    if (where == SSL_CB_READ_ALERT && ((value >> 8) == SSL3_AL_FATAL || (value & 0xff) == SSL_AD_CLOSE_NOTIFY))
      static_cast<Impl*>(SSL_get_app_data(ssl))->alert = SSL_alert_desc_string_long(value);
  }

  int judged(X509_STORE_CTX* store) noexcept {
    std::vector<Certificate> chain;
    try {
      refusal = read(X509_STORE_CTX_get0_untrusted(store), chain);
      if (!refusal) refusal = judge(chain);
    } catch (const std::exception& e) {
      refusal = Refusal{ike::Reason::Internal, e.what()};
    }
    if (!refusal) return 1;
    X509_STORE_CTX_set_error(store, error_for(*refusal, chain.empty() ? nullptr : &chain.front(), now));
    return 0;
  }
  static std::optional<Refusal> read(const STACK_OF(X509) * sent, std::vector<Certificate>& chain) {
    if (sk_X509_num(sent) < 1 || sk_X509_num(sent) > static_cast<int>(kMaxChain))
      return Refusal{ike::Reason::CertInvalid, "it sends none, or more than " + std::to_string(kMaxChain) + " certificates"};
    for (int i = 0; i < sk_X509_num(sent); ++i) {
      unsigned char* der = nullptr;
      const int size = i2d_X509(sk_X509_value(sent, i), &der);
      const Owned<unsigned char, [](unsigned char* p) { OPENSSL_free(p); }> owned(der);
      auto one = Certificate::parse(ByteView(der, static_cast<std::size_t>(std::max(size, 0))));
      if (!one) return Refusal{ike::Reason::CertInvalid, "a certificate of it cannot be read: " + one.error()};
      chain.push_back(std::move(*one));
    }
    return std::nullopt;
  }

  [[nodiscard]] bool is_13() const { return SSL_version(ssl.get()) == TLS1_3_VERSION; }

  Failure failed() {
    over = true;
    if (refusal) return {std::move(*refusal)};
    if (!alert.empty()) return {{ike::Reason::EapTls, "it ends TLS with the alert \"" + alert + "\""}, alert};
    return {{ike::Reason::EapTls, why_failed()}};
  }
  Failure improper(const char* text) {
    over = true;
    return {{ike::Reason::EapTls, text}};
  }
  /// Whether there is nothing left to do but to wait for the peer.
  [[nodiscard]] bool waits(int result) const { return SSL_get_error(ssl.get(), result) == SSL_ERROR_WANT_READ; }

  std::optional<Failure> handshake() {
    const int result = SSL_do_handshake(ssl.get());
    if (result != 1) return waits(result) ? std::nullopt : std::optional(failed());
    proven = true;
    if (!server && !is_13()) concluded = true;
    return std::nullopt;
  }
  /// Behind the handshake comes nothing but the one byte by which a server of TLS 1.3 says that it is content (RFC 9190 §2.1.1).
  std::optional<Failure> listen() {
    std::array<std::uint8_t, 2> said{};
    const int size = SSL_read(ssl.get(), said.data(), static_cast<int>(said.size()));
    if (size <= 0 && !waits(size)) return failed();
    if (size <= 0) return std::nullopt;
    if (server || concluded || size != 1 || said[0] != 0) return improper("it says more than belongs into EAP-TLS (RFC 9190 §2.1.1)");
    concluded = true;
    return std::nullopt;
  }
};

Tls::Tls(Setup setup) : impl_(std::make_unique<Impl>()) {
  impl_->server = setup.server;
  impl_->now = setup.now;
  impl_->judge = std::move(setup.judge);
  impl_->ctx.reset(must_have(SSL_CTX_new(setup.server ? TLS_server_method() : TLS_client_method()), "SSL_CTX_new"));
  SSL_CTX* ctx = impl_->ctx.get();
  must(static_cast<int>(SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION)), "SSL_CTX_set_min_proto_version");
  must(static_cast<int>(SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION)), "SSL_CTX_set_max_proto_version");
  SSL_CTX_set_security_level(ctx, setup.strength.sha1 ? 0 : setup.strength.weak_rsa ? 1 : 2);
  must(SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP"), "SSL_CTX_set_cipher_list");
  must(static_cast<int>(SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384:P-521")), "SSL_CTX_set1_groups_list");
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // strongSwan's server does not say that it renegotiates securely (RFC 5746); nobody does that here.
  if (!setup.server) SSL_CTX_set_options(ctx, SSL_OP_LEGACY_SERVER_CONNECT);
  SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);  // there are none inside of IKE
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);             // between steps, which may be many and long
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  must(SSL_CTX_set_num_tickets(ctx, 0), "SSL_CTX_set_num_tickets");
  SSL_CTX_set_max_cert_list(ctx, static_cast<long>(kMaxTlsCertificates));
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, Impl::verify, impl_.get());
  offer_own(ctx, setup.chain, setup.key.public_.key_->pkey.get());
  if (setup.server) ask_for(ctx, setup.authorities);

  impl_->ssl.reset(must_have(SSL_new(ctx), "SSL_new"));
  Owned<BIO, BIO_free> in(must_have(BIO_new(BIO_s_mem()), "BIO_new")), out(must_have(BIO_new(BIO_s_mem()), "BIO_new"));
  impl_->in = in.get();
  impl_->out = out.get();
  SSL_set_bio(impl_->ssl.get(), in.release(), out.release());
  must(static_cast<int>(SSL_set_app_data(impl_->ssl.get(), impl_.get())), "SSL_set_app_data");
  SSL_set_info_callback(impl_->ssl.get(), Impl::note);
  setup.server ? SSL_set_accept_state(impl_->ssl.get()) : SSL_set_connect_state(impl_->ssl.get());
}

Tls::~Tls() { ERR_clear_error(); }

Tls::Step Tls::advance(ByteView input) {
  Step step;
  ERR_clear_error();
  if (impl_->over) {
    step.failure = impl_->improper("TLS is over");
    return step;
  }
  if (!input.empty() && BIO_write(impl_->in, input.data(), static_cast<int>(input.size())) != static_cast<int>(input.size()))
    throw LibraryError("BIO_write");
  const bool was_concluded = impl_->concluded;
  if (!impl_->proven) step.failure = impl_->handshake();
  if (impl_->proven && !step.failure) step.failure = impl_->listen();
  if (was_concluded && !step.failure) step.failure = impl_->improper("it goes on behind the end of EAP-TLS");
  step.output = take_all(impl_->out);
  step.proven = impl_->proven && !step.failure;
  ERR_clear_error();
  return step;
}

Bytes Tls::conclude() {
  if (!impl_->server || impl_->concluded || !impl_->proven) return {};
  impl_->concluded = true;
  if (!impl_->is_13()) return {};
  const std::uint8_t content = 0;
  if (SSL_write(impl_->ssl.get(), &content, 1) != 1) throw LibraryError("SSL_write");
  return take_all(impl_->out);
}

bool Tls::concluded() const { return impl_->concluded; }

SecretBytes Tls::msk() const {
  static constexpr std::string_view kLabel12 = "client EAP encryption", kLabel13 = "EXPORTER_EAP_TLS_Key_Material";
  const bool is_13 = impl_->is_13();
  const std::string_view label = is_13 ? kLabel13 : kLabel12;
  SecretBytes material(kKeyMaterial);
  must(SSL_export_keying_material(impl_->ssl.get(), material.mutable_view().data(), kKeyMaterial, label.data(), label.size(), &kEapTlsType,
                                  is_13 ? 1 : 0, is_13 ? 1 : 0),
       "SSL_export_keying_material");
  return SecretBytes(material.view().first(kMsk));
}

std::string Tls::version() const { return SSL_get_version(impl_->ssl.get()); }

}  // namespace culvert::crypto
