#include "control/ikev2/ppk.hpp"

#include <algorithm>

#include "control/ikev1/evidence.hpp"

namespace culvert::ikev2 {

namespace {

/// RFC 8784 §5.1: the identity has no form; nothing but its bytes counts.
constexpr std::uint8_t kPpkIdFixed = 2;
constexpr std::size_t kShownId = 64;

Bytes identity_data(const config::Ppk& ppk) {
  Writer w;
  w.be(kPpkIdFixed);
  w.bytes(as_bytes(ppk.id));
  return std::move(w).take();
}

std::string quoted(const std::string& id) { return "\"" + id + "\""; }

/// Of a PPK_IDENTITY of the peer's, for a message.
std::string shown(const Notify& identity) {
  if (identity.data.empty()) return "an empty one";
  return quoted(printable(ByteView(identity.data).subspan(1), kShownId));
}

PpkFault unreadable(const config::Ppk& ppk, const std::string& why, unsigned number) {
  return {Reason::NoSecret,
          "The PPK " + quoted(ppk.id) + " cannot be read: " + why + ".",
          {.number = number, .evidence = ikev1::unreadable(why)}};
}

/// Refused for what a PPK is about, and for nothing else.
PpkFault of_ppk(std::string text, unsigned number) {
  PpkFault out{.text = std::move(text), .cause = {.number = number}};
  out.cause.ppk = out.text;
  return out;
}

void mix(IkeSa& sa) {
  sa.keys.d = std::move(sa.ppk->d);
  sa.keys.pi = std::move(sa.ppk->pi);
  sa.keys.pr = std::move(sa.ppk->pr);
  sa.ppk.reset();
  sa.with_ppk = true;
}

void say_used(Core& core, const IkeSa& sa) {
  core.say(sa, Severity::Info, Exchange::IkeAuth, Reason::Ok, "The keys are made with the PPK " + quoted(core.connection(sa).ppk.id) + ".");
}

}  // namespace

bool any_ppk(const Core& core, std::span<const std::size_t> connections) {
  return std::ranges::any_of(connections, [&](std::size_t index) { return !core.config.connections.at(index).ppk.id.empty(); });
}

bool same_ppk(const config::Connection& a, const config::Connection& b) {
  return a.ppk.id == b.ppk.id && a.ppk.secret.kind == b.ppk.secret.kind && a.ppk.secret.where == b.ppk.secret.where &&
         a.ppk.required == b.ppk.required;
}

std::optional<PpkFault> begin_ppk(Core& core, IkeSa& sa) {
  const config::Connection& c = core.connection(sa);
  if (c.ppk.id.empty()) return std::nullopt;
  if (!sa.use_ppk) {
    if (c.ppk.required)
      return of_ppk("The peer takes no PPKs (its IKE_SA_INIT has no USE_PPK), and ppk_required asks for " + quoted(c.ppk.id) + ".", 2);
    core.say(sa, Severity::Warn, Exchange::IkeSaInit, Reason::Ok,
             "The peer takes no PPKs: the keys are made without " + quoted(c.ppk.id) + ", since ppk_required is false.");
    return std::nullopt;
  }
  const auto secret = core.services.ppk(c.name);
  if (!secret) return unreadable(c.ppk, secret.error(), 3);
  sa.ppk = ppk_keys(sa.keys, secret->view());
  return std::nullopt;
}

bool may_lack_ppk(const Core& core, const IkeSa& sa) { return sa.ppk && !core.connection(sa).ppk.required; }

const SecretBytes& proving_key(const IkeSa& sa) { return sa.ppk ? sa.ppk->pi : sa.keys.pi; }

void add_ppk(const Core& core, const IkeSa& sa, const std::optional<Auth>& without, Builder& out) {
  if (!sa.ppk) return;
  out.notify(NotifyType::PpkIdentity, identity_data(core.connection(sa).ppk));
  if (without) out.notify(NotifyType::NoPpkAuth, without->data);
}

std::optional<PpkFault> settle_ppk(Core& core, IkeSa& sa, const Message& reply) {
  if (!sa.ppk) return std::nullopt;
  if (reply.notify(NotifyType::PpkIdentity)) {
    mix(sa);
    say_used(core, sa);
    return std::nullopt;
  }
  sa.ppk.reset();
  const config::Ppk& ppk = core.connection(sa).ppk;
  if (ppk.required) return of_ppk("The peer goes on without the PPK " + quoted(ppk.id) + ", which ppk_required asks for.", 4);
  core.say(sa, Severity::Warn, Exchange::IkeAuth, Reason::Ok,
           "The peer does not have the PPK " + quoted(ppk.id) + ": the keys are made without, since ppk_required is false.");
  return std::nullopt;
}

std::expected<PpkProof, PpkFault> ppk_proof(Core& core, const IkeSa& sa, const config::Connection& c, const Message& request) {
  // RFC 8784 §3: who has not been told USE_PPK has no business with one; its AUTH is judged as it is.
  // Nor has a further proof: a connection with several of them has none.
  const Notify* identity = sa.use_ppk && sa.rounds.now == 0 ? request.notify(NotifyType::PpkIdentity) : nullptr;
  const Auth& auth = *request.find<Auth>();
  if (identity && !c.ppk.id.empty() && identity->data == identity_data(c.ppk)) {
    const auto secret = core.services.ppk(c.name);
    if (!secret) return std::unexpected(unreadable(c.ppk, secret.error(), 3));
    return PpkProof{ppk_keys(sa.keys, secret->view()), auth};
  }
  if (c.ppk.required)
    return std::unexpected(of_ppk((identity ? "The peer's PPK is " + shown(*identity) : std::string("The peer uses no PPK")) +
                                      ", and ppk_required asks for " + quoted(c.ppk.id) + ".",
                                  3));
  if (!identity) return PpkProof{{}, auth};
  const Notify* without = request.notify(NotifyType::NoPpkAuth);
  if (!without)
    return std::unexpected(of_ppk("The peer uses the PPK " + shown(*identity) + ", " +
                                      (c.ppk.id.empty() ? std::string("the connection has none") : "ours is " + quoted(c.ppk.id)) +
                                      ", and it proves nothing without (NO_PPK_AUTH).",
                                  3));
  return PpkProof{{}, Auth{auth.method, without->data}};
}

void take_ppk(Core& core, IkeSa& sa) {
  if (!sa.ppk) return;
  mix(sa);
  say_used(core, sa);
}

void confirm_ppk(const IkeSa& sa, Builder& out) {
  if (sa.with_ppk) out.notify(NotifyType::PpkIdentity);
}

std::string or_ppk(const Core& core, const IkeSa& sa) {
  if (!sa.ppk && !sa.with_ppk) return {};
  return ", or the two sides do not have the same PPK " + quoted(core.connection(sa).ppk.id);
}

std::string ppk_doubt(const Core& core, const IkeSa& sa) {
  if (!sa.ppk && !sa.with_ppk) return {};
  return "The two sides do not have the same PPK " + quoted(core.connection(sa).ppk.id) + ".";
}

}  // namespace culvert::ikev2
