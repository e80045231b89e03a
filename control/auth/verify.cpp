#include "control/auth/verify.hpp"

#include <algorithm>
#include <exception>
#include <iterator>

#include "common/dn.hpp"
#include "common/net/ip.hpp"
#include "control/crypto/hash.hpp"
#include "control/ikev1/identity.hpp"

namespace culvert::control::auth {

using crypto::Certificate;
using crypto::Refusal;
using ike::Reason;

namespace {

// RFC 2408 §3.9, RFC 7296 §3.6: certificate encodings.
constexpr std::uint8_t kPkcs7 = 1, kX509Signature = 4, kCrl = 7;

bool same_word(ByteView a, const std::string& b) {
  const auto lower = [](std::uint8_t c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : int{c}; };
  return std::ranges::equal(a, as_bytes(b), [&](std::uint8_t x, std::uint8_t y) { return lower(x) == lower(y); });
}

std::string id_text(std::uint8_t type, ByteView data) {
  return ikev1::to_text(ikev1::Id{static_cast<ikev1::IdType>(type), 0, 0, Bytes(data.begin(), data.end())});
}
std::string id_text(const ike::VerifyPeer& job) { return id_text(job.id_type, job.id_data); }

using Path = std::expected<std::vector<Certificate>, Refusal>;  // from the end entity's

/// Those of one CERT payload.
std::expected<std::vector<Certificate>, std::string> unpack(const ike::CertificatePayload& payload) {
  if (payload.encoding == kPkcs7) return Certificate::unwrap(payload.data);
  auto one = Certificate::parse(payload.data);
  if (!one) return std::unexpected(std::move(one.error()));
  return std::vector{std::move(*one)};
}

Path received(const ike::VerifyPeer& job) {
  std::vector<Certificate> out;
  for (const auto& payload : job.certificates) {
    if (payload.encoding != kX509Signature && payload.encoding != kPkcs7) continue;
    auto some = unpack(payload);
    if (!some) return std::unexpected(Refusal{Reason::CertInvalid, "a certificate of the peer cannot be read: " + some.error()});
    if (out.size() + some->size() > crypto::kMaxChain)
      return std::unexpected(
          Refusal{Reason::CertInvalid, "the peer sent more than " + std::to_string(crypto::kMaxChain) + " certificates"});
    std::ranges::move(*some, std::back_inserter(out));
  }
  return out;
}

/// Those that cannot be read prove nothing, like none.
std::vector<crypto::RevocationList> received_lists(const ike::VerifyPeer& job) {
  std::vector<crypto::RevocationList> out;
  for (const auto& payload : job.certificates) {
    if (payload.encoding != kCrl) continue;
    if (out.size() == kMaxSentLists) break;
    if (auto list = crypto::RevocationList::read(payload.data)) out.push_back(std::move(*list));
  }
  return out;
}

/// The end entity's: RFC 4945 §3.3.9 leaves the order open, so the first that is no authority's.
Certificate end_of(const std::vector<Certificate>& certificates) {
  const auto end = std::ranges::find_if(certificates, [](const Certificate& c) { return !c.is_authority(); });
  return end == certificates.end() ? certificates.front() : *end;
}

bool contains(std::span<const Certificate> certificates, const Certificate& c) {
  return std::ranges::find(certificates, c) != certificates.end();
}

/// A peer that sends no certificate can only be one that is configured.
std::expected<Certificate, Refusal> pinned_for(const Trust& trust, const ike::VerifyPeer& job) {
  const auto it = std::ranges::find_if(trust.pinned, [&](const Certificate& c) { return carries(c, job.id_type, job.id_data); });
  if (it != trust.pinned.end()) return *it;
  return std::unexpected(
      Refusal{Reason::CertUntrusted, "the peer sent no certificate, and remote.certs has none that carries " + id_text(job)});
}

/// A certificate led to an anchor by way of those that were sent, or pinned.
Path trusted(const Trust& trust, const Certificate& end, std::span<const Certificate> sent, crypto::WallTime now) {
  if (contains(trust.pinned, end)) {
    if (auto dates = crypto::outside_validity(end, now)) return std::unexpected(std::move(*dates));
    return std::vector{end};
  }
  if (trust.anchors.empty())
    return std::unexpected(
        Refusal{Reason::CertUntrusted, crypto::described(end) + " is not one of remote.certs, and no authority is trusted"});
  auto path = crypto::find_path(end, sent, trust.anchors, now, trust.strength);
  if (path && end.is_authority())
    return std::unexpected(Refusal{Reason::CertInvalid, crypto::described(end) + " is an authority's, and no peer's (RFC 4945 §5.1.3.9)"});
  return path;
}

/// The certificate that the peer has to be judged by.
Path trusted(const Trust& trust, const ike::VerifyPeer& job, crypto::WallTime now) {
  auto certificates = received(job);
  if (!certificates) return std::unexpected(std::move(certificates.error()));
  if (certificates->empty()) {
    auto pinned = pinned_for(trust, job);
    if (!pinned) return std::unexpected(std::move(pinned.error()));
    certificates->push_back(std::move(*pinned));
  }
  return trusted(trust, end_of(*certificates), *certificates, now);
}

/// Whether it may be used, and says who the peer is.
std::optional<Refusal> unfit(const Certificate& end, std::uint8_t id_type, ByteView id) {
  const std::string what = crypto::described(end);
  if (const auto unfit = end.unfit_for_ike()) return Refusal{Reason::CertInvalid, what + " is not made for this use: " + *unfit};
  if (carries(end, id_type, id)) return std::nullopt;
  return Refusal{Reason::WrongIdentity,
                 "the peer calls itself " + id_text(id_type, id) + ", but its certificate says " + identities_of(end)};
}

std::optional<Refusal> check(const ike::VerifyPeer& job, const Certificate& end) {
  const std::string what = crypto::described(end);
  const auto& key = end.key();
  if (!key) return Refusal{Reason::CertInvalid, what + " is not used: " + key.error()};
  if (job.scheme != ike::SignatureScheme::Ikev1 && !crypto::fits(job.scheme, key->method()))
    return Refusal{Reason::CertInvalid, what + " is for " + std::string(ike::name(key->method())) + " signatures, but the peer's is " +
                                            std::string(ike::name(job.scheme))};
  if (job.scheme == ike::SignatureScheme::Ikev1 && key->method() != job.method)
    return Refusal{Reason::CertInvalid, what + " is for " + std::string(ike::name(key->method())) + " signatures, but " +
                                            std::string(ike::name(job.method)) + " was agreed"};
  if (auto why = unfit(end, job.id_type, job.id_data)) return why;
  if (!key->verify(job.scheme, job.octets, job.signature))
    return Refusal{Reason::AuthFailed, "the peer's signature is not one of the key of " + what};
  return std::nullopt;
}

}  // namespace

bool carries(const Certificate& c, std::uint8_t id_type, ByteView id) {
  const auto& alt = c.alt_names();
  const auto any = [&](const std::vector<std::string>& names) {
    return std::ranges::any_of(names, [&](const std::string& n) { return !n.empty() && same_word(id, n); });
  };
  switch (static_cast<ikev1::IdType>(id_type)) {
    case ikev1::IdType::DerAsn1Dn:
      return same_name(c.subject(), id);
    case ikev1::IdType::Fqdn:
      return any(alt.dns);
    case ikev1::IdType::UserFqdn:
      return any(alt.email);
    case ikev1::IdType::Ipv4Addr:
    case ikev1::IdType::Ipv6Addr:
      return std::ranges::any_of(alt.ip, [&](const Bytes& ip) { return std::ranges::equal(ip, id); });
    default:
      return false;
  }
}

Bytes key_name(const Certificate& c) { return crypto::digest(Prf::HmacSha2_256, {c.key_info()}); }

std::vector<std::string> alt_names_of(const Certificate& c) {
  std::vector<std::string> out;
  for (const auto& n : c.alt_names().dns) out.push_back("DNS " + printable(as_bytes(n), 255));
  for (const auto& n : c.alt_names().email) out.push_back("email " + printable(as_bytes(n), 255));
  for (const auto& n : c.alt_names().ip)
    if (const auto ip = IpAddress::from_bytes(n)) out.push_back("IP " + ip->to_string());
  return out;
}

std::string identities_of(const Certificate& c) {
  constexpr std::size_t kShown = 8;
  std::string out = c.subject_text();
  const auto names = alt_names_of(c);
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) out += ", " + names[i];
  return names.size() <= kShown ? out : out + " and " + std::to_string(names.size() - kShown) + " more";
}

Path judge_chain(const Trust& trust, std::span<const Certificate> chain, std::uint8_t id_type, ByteView id, crypto::WallTime now) {
  auto path = trusted(trust, chain.front(), chain, now);
  if (!path) return path;
  const Certificate& end = path->front();
  if (const std::string why = crypto::unusable_key(end, trust.strength); !why.empty())
    return std::unexpected(Refusal{Reason::CertInvalid, crypto::described(end) + " is not used: " + why});
  if (auto why = unfit(end, id_type, id)) return std::unexpected(std::move(*why));
  return path;
}

ike::SignResult sign(const Own& own, const ike::Sign& job) noexcept {
  ike::SignResult out;
  out.job = job.job;
  try {
    if (job.scheme == ike::SignatureScheme::Ikev1 && own.key.method() != job.method) {
      out.error = "the private key is for " + std::string(ike::name(own.key.method())) + " signatures, but " +
                  std::string(ike::name(job.method)) + " was agreed";
      return out;
    }
    auto signature = own.key.sign(job.scheme, job.octets);
    out.ok = signature.has_value();
    if (out.ok) {
      out.signature = std::move(*signature);
    } else {
      out.error = std::move(signature.error());
    }
  } catch (const std::exception& e) {
    out.ok = false;
    out.error = e.what();
  }
  return out;
}

Verified verify(const Trust& trust, const ike::VerifyPeer& job, crypto::WallTime now) noexcept {
  Verified verified;
  ike::VerifyResult& out = verified.result;
  out.job = job.job;
  try {
    auto path = trusted(trust, job, now);
    auto refusal = path ? check(job, path->front()) : std::optional(std::move(path.error()));
    if (path) out.subject = path->front().subject_text();
    out.ok = !refusal;
    if (refusal) {
      out.reason = refusal->reason;
      out.message = std::move(refusal->message);
    } else {
      out.key = key_name(path->front());
      verified.path = std::move(*path);
      verified.lists = received_lists(job);
    }
  } catch (const std::exception& e) {
    out.ok = false;
    out.reason = Reason::Internal;
    out.message = e.what();
  }
  return verified;
}

}  // namespace culvert::control::auth
