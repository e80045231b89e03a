#include "control/ikev2/certificates.hpp"

#include <algorithm>

namespace culvert::ikev2 {

bool may_sign(const config::Connection& c) {
  return config::any_proof(c, [](config::Proof p) { return p == config::Proof::Pubkey; });
}

void add_certificates(Core& core, const IkeSa& sa, Builder& out) {
  for (Bytes& cert : core.services.certificates(core.proofs(sa).name)) out.add(Cert{kX509Signature, std::move(cert)});
}

void add_cert_requests(Core& core, std::span<const std::size_t> connections, std::size_t room, Builder& out) {
  static constexpr std::size_t kOverhead = 5;  // generic header and encoding
  static constexpr std::size_t kMost = 48;     // 960 bytes: a fragment of its own is not worth it
  std::vector<Bytes> keys;
  bool wanted = false;
  for (const std::size_t index : connections) {
    const config::Connection& c = core.config.connections.at(index);
    for (std::size_t round = 0; round < c.remote_rounds; ++round) {
      if (config::proofs(c, round).remote_auth.auth != config::Proof::Pubkey) continue;
      wanted = true;
      if (keys.size() > kMost) break;
      for (Bytes& key : core.services.authority_keys(config::proofs(c, round).name))
        if (std::ranges::find(keys, key) == keys.end()) keys.push_back(std::move(key));
    }
  }
  if (!wanted) return;
  Bytes all;
  if (keys.size() <= kMost)
    for (const Bytes& key : keys) all.insert(all.end(), key.begin(), key.end());
  if (kOverhead + all.size() > room) all.clear();
  out.add(CertReq{kX509Signature, std::move(all)});
}

std::expected<ike::SignatureScheme, std::string> signing_scheme(Core& core, const IkeSa& sa, const Auth* peer) {
  const auto key = core.services.signing_method(core.proofs(sa).name);
  if (!key) return std::unexpected("Our private key cannot be used: " + key.error() + ".");
  const config::SignatureWish& wish = core.proofs(sa).local_auth.auth.signature;
  const auto theirs = peer && by_signature(peer->method) ? read_signature(*peer, sa.hashes.has_value()) : std::unexpected(std::string());
  const auto scheme = scheme_for(*key, sa.hashes, wish, theirs && by_pss(theirs->scheme));
  if (scheme) return *scheme;
  if (!fits(wish, *key))
    return std::unexpected("Our private key is for " + std::string(ike::name(*key)) + " signatures, and local.auth asks for " +
                           config::signature_text(wish) + ".");
  return std::unexpected("The peer takes none of the hashes that our key signs with (SIGNATURE_HASH_ALGORITHMS, RFC 7427)" +
                         (wish == config::SignatureWish{} ? "." : ": local.auth asks for " + config::signature_text(wish) + "."));
}

std::optional<std::string> unwanted(const config::Connection& c, const PeerSignature& proof) {
  const config::SignatureWish& wish = c.remote_auth.auth.signature;
  if (fits(wish, proof.scheme)) return std::nullopt;
  return "The peer's signature is " + std::string(ike::name(proof.scheme)) +
         ", and the connection asks for ike:" + config::signature_text(wish) + " (remote.auth).";
}

JobId ask_signature(Core& core, const IkeSa& sa, ike::SignatureScheme scheme, const SecretBytes& octets) {
  const JobId job = core.add_job({sa.id});
  ike::Sign ask{
      .job = job, .connection = core.proofs(sa).name, .octets = Bytes(octets.view().begin(), octets.view().end()), .scheme = scheme};
  core.shared.actions.emplace_back(std::move(ask));
  return job;
}

JobId ask_verification(Core& core, const IkeSa& sa, const Message& message, std::uint8_t id_type, const Bytes& id,
                       const PeerSignature& proof, const Bytes& octets) {
  const JobId job = core.add_job({sa.id});
  ike::VerifyPeer ask{.job = job,
                      .connection = core.proofs(sa).name,
                      .octets = octets,
                      .signature = proof.signature,
                      .id_type = id_type,
                      .id_data = id,
                      .certificates = {},
                      .scheme = proof.scheme};
  for (const Cert* cert : message.all<Cert>()) ask.certificates.push_back({cert->encoding, cert->data});
  core.shared.actions.emplace_back(std::move(ask));
  return job;
}

Cause refusal_of(Core& core, const IkeSa& sa, unsigned number, const std::string& peer, const ike::VerifyResult& why) {
  if (why.reason == Reason::WrongIdentity)
    return {.number = number, .evidence = ike::IdentityEvidence{core.proofs(sa).remote_id.text, peer, false, false}};
  return {.number = number, .evidence = ike::CertificateEvidence{why.subject, why.message}};
}

std::string described(AuthMethodId method) {
  if (method == AuthMethodId::SharedKey) return "a pre-shared key";
  return by_signature(method) ? "a signature" : "method " + std::to_string(static_cast<unsigned>(method));
}

}  // namespace culvert::ikev2
