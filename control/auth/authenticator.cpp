#include "control/auth/authenticator.hpp"

#include <utility>

#include "control/crypto/hash.hpp"

namespace culvert::control::auth {

Authenticator::Authenticator(const config::GatewayConfig& config, Hooks hooks)
    : config_(config),
      hooks_(std::move(hooks)),
      credentials_(config,
                   [this](const std::string& connection, const std::string& problem) {
                     if (hooks_.complain) hooks_.post([this, connection, problem] { hooks_.complain(connection, problem); });
                   }),
      revocation_({.compute = hooks_.compute, .post = hooks_.post, .fetch = hooks_.fetch, .now = hooks_.now}) {}

void Authenticator::answer(ike::SignResult result) {
  hooks_.post([this, result = std::move(result)]() mutable { hooks_.on_signed(std::move(result)); });
}
void Authenticator::answer(ike::VerifyResult result) {
  hooks_.post([this, result = std::move(result)]() mutable { hooks_.on_verified(std::move(result)); });
}

void Authenticator::sign(ike::Sign job) {
  const std::uint64_t id = job.job;
  const auto own = credentials_.own(job.connection);
  if (!own) return answer(ike::SignResult{.job = id, .ok = false, .signature = {}, .error = own.error()});
  const bool taken = hooks_.compute([this, own = *own, job = std::move(job)] { answer(auth::sign(*own, job)); });
  if (!taken) answer(ike::SignResult{.job = id, .ok = false, .signature = {}, .error = "too many computations wait already"});
}

namespace {
/// A pinned certificate is trusted without an issuer, but one of cacerts may have revoked it.
Verified with_issuer(Verified verified, const Trust& trust, crypto::WallTime now) noexcept {
  if (!verified.result.ok || verified.path.size() != 1 || trust.revocation == config::Revocation::Ignore) return verified;
  try {
    if (auto path = crypto::find_path(verified.path.front(), {}, trust.anchors, now, trust.strength)) verified.path = std::move(*path);
  } catch (const std::exception& e) {
    verified.result.ok = false;
    verified.result.reason = ike::Reason::Internal;
    verified.result.message = e.what();
  }
  return verified;
}
}  // namespace

void Authenticator::verify(ike::VerifyPeer job) {
  ike::VerifyResult failed;
  failed.job = job.job;
  const auto trust = credentials_.trust(job.connection);
  if (!trust) {
    failed.reason = ike::Reason::CertUntrusted;
    failed.message = "no certificate can be checked: " + trust.error();
    return answer(std::move(failed));
  }
  const bool taken = hooks_.compute([this, trust = *trust, now = hooks_.now(), job = std::move(job)] {
    hooks_.post([this, trust, verified = with_issuer(auth::verify(*trust, job, now), *trust, now)]() mutable {
      look_at_revocation(std::move(verified), std::move(trust));
    });
  });
  if (taken) return;
  failed.reason = ike::Reason::Limit;
  failed.message = "too many computations wait already";
  answer(std::move(failed));
}

/// The last check, since it may ask others: only of a peer that has proven everything else.
void Authenticator::look_at_revocation(Verified verified, TrustPtr trust) {
  if (!verified.result.ok || trust->revocation == config::Revocation::Ignore) return hooks_.on_verified(std::move(verified.result));
  const auto done = [this, result = std::move(verified.result)](const std::optional<crypto::Refusal>& refusal) mutable {
    result.ok = !refusal;
    if (refusal) {
      result.reason = refusal->reason;
      result.message = refusal->message;
    }
    hooks_.on_verified(std::move(result));
  };
  revocation_.check(std::move(verified.path), std::move(trust), done, std::move(verified.lists));
}

void Authenticator::answer(ike::TlsStepped result) {
  hooks_.post([this, shared = std::make_shared<ike::TlsStepped>(std::move(result))] { hooks_.on_tls(std::move(*shared)); });
}

void Authenticator::tls(ike::TlsStep job) {
  ike::TlsStepped failed{.job = job.job, .failed = true, .reason = ike::Reason::NoSecret};
  auto talk = std::static_pointer_cast<TlsTalk>(job.session);
  if (!talk) {
    const auto own = credentials_.own(job.connection);
    const auto trust = own ? credentials_.trust(job.connection) : std::unexpected(own.error());
    if (!trust) {
      failed.message = "our certificate and key, or the authorities, cannot be used: " + trust.error();
      return answer(std::move(failed));
    }
    talk = std::make_shared<TlsTalk>(*own, *trust);
  }
  const bool taken = hooks_.compute([this, talk, now = hooks_.now(), step = std::make_shared<ike::TlsStep>(std::move(job))] {
    const auto result = std::make_shared<ike::TlsStepped>(talk->advance(*step, now));
    hooks_.post([this, talk, result, now] { look_at_revocation(talk, std::move(*result), now); });
  });
  if (taken) return;
  failed.reason = ike::Reason::Limit;
  failed.message = "too many computations wait already";
  answer(std::move(failed));
}

/// Of a peer that has just proved everything else.
void Authenticator::look_at_revocation(const std::shared_ptr<TlsTalk>& talk, ike::TlsStepped result, crypto::WallTime now) {
  result.session = talk;
  const auto done = [this, talk,
                     shared = std::make_shared<ike::TlsStepped>(std::move(result))](const std::optional<crypto::Refusal>& refusal) {
    refusal ? TlsTalk::refuse(*shared, *refusal) : talk->conclude(*shared);
    hooks_.on_tls(std::move(*shared));
  };
  if (!talk->to_be_asked() || talk->trust()->revocation == config::Revocation::Ignore) return done(std::nullopt);
  Verified verified;
  verified.result.ok = true;
  verified.path = talk->path();
  verified = with_issuer(std::move(verified), *talk->trust(), now);
  if (!verified.result.ok) return done(crypto::Refusal{verified.result.reason, verified.result.message});
  revocation_.check(std::move(verified.path), talk->trust(), done);
}

std::expected<ike::AuthMethod, std::string> Authenticator::signing_method(const std::string& connection) {
  const auto own = credentials_.own(connection);
  if (!own) return std::unexpected(own.error());
  return (*own)->key.method();
}

std::vector<Bytes> Authenticator::certificates(const std::string& connection) {
  std::vector<Bytes> out;
  if (const auto own = credentials_.own(connection))
    for (const auto& c : (*own)->chain) out.push_back(c.der());
  return out;
}

std::vector<Bytes> Authenticator::authorities(const std::string& connection) {
  std::vector<Bytes> out;
  if (const auto trust = credentials_.trust(connection))
    for (const auto& c : (*trust)->anchors) out.push_back(c.subject());
  return out;
}

std::vector<Bytes> Authenticator::authority_keys(const std::string& connection) {
  std::vector<Bytes> out;
  if (const auto trust = credentials_.trust(connection))
    for (const auto& c : (*trust)->anchors) out.push_back(crypto::digest(Prf::HmacSha1, {c.key_info()}));
  return out;
}

}  // namespace culvert::control::auth
