#include "control/auth/tls.hpp"

#include <exception>
#include <utility>

#include "control/auth/verify.hpp"

namespace culvert::control::auth {

namespace {
void fail(ike::TlsStepped& out, ike::Reason reason, std::string message) {
  out.done = false;
  out.failed = true;
  out.reason = reason;
  out.message = std::move(message);
  out.msk = {};
}
}  // namespace

/// Whom the peer has to be counts as of the first step.
void TlsTalk::make(const ike::TlsStep& step, crypto::WallTime now) {
  const ike::TlsStep first{
      .job = 0, .connection = step.connection, .server = step.server, .id_type = step.id_type, .id_data = step.id_data};
  tls_ = std::make_unique<crypto::Tls>(
      crypto::Tls::Setup{.server = step.server,
                         .chain = own_->chain,
                         .key = own_->key,
                         .authorities = trust_->anchors,
                         .strength = trust_->strength,
                         .now = now,
                         .judge = [this, first, now](std::span<const crypto::Certificate> chain) { return judge(chain, first, now); }});
}

std::optional<crypto::Refusal> TlsTalk::judge(std::span<const crypto::Certificate> chain, const ike::TlsStep& first, crypto::WallTime now) {
  subject_ = chain.front().subject_text();
  auto path = judge_chain(*trust_, chain, first.id_type, first.id_data, now);
  if (!path) return std::move(path.error());
  path_ = std::move(*path);
  return std::nullopt;
}

ike::TlsStepped TlsTalk::advance(const ike::TlsStep& step, crypto::WallTime now) noexcept {
  ike::TlsStepped out;
  out.job = step.job;
  try {
    if (!tls_) make(step, now);
    crypto::Tls::Step made = tls_->advance(step.input);
    out.subject = subject_;
    out.output = std::move(made.output);
    proven_ = made.proven;
    if (made.failure) {
      fail(out, made.failure->refusal.reason, std::move(made.failure->refusal.message));
      out.alert = std::move(made.failure->alert);
    }
  } catch (const std::exception& e) {
    proven_ = false;
    fail(out, ike::Reason::Internal, e.what());
  }
  return out;
}

void TlsTalk::conclude(ike::TlsStepped& out) noexcept {
  asked_ = asked_ || proven_;
  if (out.failed || !proven_) return;
  try {
    const Bytes last = tls_->conclude();
    out.output.insert(out.output.end(), last.begin(), last.end());
    out.done = tls_->concluded();
    if (!out.done) return;
    out.msk = tls_->msk();
    if (!path_.empty()) out.key = key_name(path_.front());
  } catch (const std::exception& e) {
    fail(out, ike::Reason::Internal, e.what());
  }
}

void TlsTalk::refuse(ike::TlsStepped& out, const crypto::Refusal& why) {
  out.output.clear();
  fail(out, why.reason, why.message);
}

}  // namespace culvert::control::auth
