// What `culvert explain` makes of failures of IKEv2: causes in order by exchange and message, and only what is safe as a line of YAML.
#include "control/explain/explain.hpp"
#include "tests/unit/control/gateway_fixture.hpp"

using namespace culvert;
using namespace culvert::control;
using Catch::Contains;
using ike::Exchange;
using ike::Reason;
using ike::RefusedBy;
using ike::Role;

namespace explain_v2 {  // its helpers have the names of those in explain_test.cpp

namespace {

ike::Failure failure(Exchange exchange, Role role, Reason reason, ike::Cause cause) {
  ike::Failure f;
  f.when = f.first = ike::TimePoint{1h} - 5s;
  f.exchange = exchange;
  f.role = role;
  f.reason = reason;
  f.by = cause.by.value_or(ike::usual_refuser(reason));
  f.message = "a sentence.";
  f.peer = Endpoint{IpAddress::parse("10.9.0.2").value(), 500};
  f.cause = std::move(cause);
  return f;
}
ike::Failure of_child(ike::Failure f) {
  f.child = "net";
  return f;
}
config::GatewayConfig configured(std::uint8_t version = 2) {
  config::GatewayConfig c = sample();
  c.connections[0].version = version;
  c.connections[0].proposals = (version == 2 ? parse_ike_proposal_v2 : parse_ike_proposal)("aes256-sha256-ecp256").value();
  c.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256gcm16").value();
  return c;
}
explain::Remedy remedy(const ike::Failure& f, const config::GatewayConfig& c = configured()) {
  return explain::remedy(f, &c.connections[0], c);
}
std::string first_cause(const ike::Failure& f) { return std::string(explain::causes(f).front().cause); }
std::string first_text(const ike::Failure& f) { return explain::causes(f).front().text; }
std::vector<std::string> cause_names(const ike::Failure& f) {
  std::vector<std::string> out;
  for (const auto& likely : explain::causes(f)) out.emplace_back(likely.cause);
  return out;
}

}  // namespace

TEST_CASE("explain: proposals of IKEv2 are suggested in its words, with the same care", "[explain]") {
  config::GatewayConfig c = configured();
  const auto of = [&](std::vector<std::string> usable) {
    return remedy(failure(Exchange::IkeSaInit, Role::Responder, Reason::NoProposalChosen,
                          {.number = 1, .evidence = ike::ProposalEvidence{"offer", "want", "difference", std::move(usable)}}),
                  c)
        .yaml;
  };
  using Lines = std::vector<std::string>;
  CHECK(of({"aes128gcm16-prfsha256-ecp384"}) == Lines{"proposals: [aes256-sha256-ecp256, aes128gcm16-prfsha256-ecp384]"});
  CHECK(of({"aes256-sha256-prfsha384-ecp384"}) == Lines{"proposals: [aes256-sha256-ecp256, aes256-sha256-prfsha384-ecp384]"});
  for (const char* bad : {"aes128-sha1-prfsha256-ecp256", "aes128gcm16-prfsha1-ecp256", "aes128-sha256-prfmd5-ecp256",
                          "aes128-md5-prfsha256-ecp256", "aes128gcm8-prfsha256-ecp256"}) {
    INFO(bad);
    CHECK(of({bad}).empty());
  }
}

TEST_CASE("explain: silence in IKEv2, by the message that was not answered", "[explain][ikev2]") {
  using Names = std::vector<std::string>;
  const auto silent = [](Exchange exchange, Role role, unsigned number, bool on_4500 = false) {
    return failure(exchange, role, Reason::Timeout, {.number = number, .on_4500 = on_4500});
  };
  CHECK(cause_names(silent(Exchange::IkeSaInit, Role::Initiator, 1)) == Names{"unreachable", "ike_version"});
  CHECK(cause_names(silent(Exchange::IkeIntermediate, Role::Initiator, 3)) == Names{"large_messages", "silence"});
  CHECK(cause_names(silent(Exchange::IkeIntermediate, Role::Initiator, 3, true)) == Names{"large_messages", "port_4500"});
  CHECK(cause_names(silent(Exchange::IkeIntermediate, Role::Responder, 1)) == Names{"one_way", "port_4500"});
  CHECK(cause_names(silent(Exchange::IkeAuth, Role::Initiator, 3)) == Names{"silence", "one_way"});
  CHECK(cause_names(silent(Exchange::IkeAuth, Role::Initiator, 3, true)) == Names{"port_4500", "silence"});
  CHECK_THAT(remedy(silent(Exchange::IkeAuth, Role::Initiator, 3, true)).note, Contains("UDP 4500"));
  CHECK(cause_names(silent(Exchange::IkeAuth, Role::Responder, 0)) == Names{"one_way", "port_4500"});
  CHECK(first_cause(of_child(silent(Exchange::CreateChildSa, Role::Initiator, 1))) == "dead_peer");
  CHECK(first_cause(failure(Exchange::Dpd, Role::Initiator, Reason::DpdTimeout, {})) == "dead_peer");
}

TEST_CASE("explain: in IKEv2 proposals are the IKE SA's or a child's by what they are about", "[explain][ikev2]") {
  using Lines = std::vector<std::string>;
  const auto refused = [](Exchange exchange, const char* usable) {
    return failure(exchange, Role::Responder, Reason::NoProposalChosen,
                   {.number = 1, .evidence = ike::ProposalEvidence{"offer", "want", "difference", {usable}}});
  };
  CHECK(first_cause(refused(Exchange::IkeSaInit, "aes128gcm16-prfsha256-ecp384")) == "phase1_proposal");
  CHECK(remedy(refused(Exchange::IkeSaInit, "aes128gcm16-prfsha256-ecp384")).yaml ==
        Lines{"proposals: [aes256-sha256-ecp256, aes128gcm16-prfsha256-ecp384]"});
  for (const Exchange exchange : {Exchange::IkeAuth, Exchange::CreateChildSa}) {
    const ike::Failure f = of_child(refused(exchange, "chacha20poly1305"));
    CHECK(first_cause(f) == "phase2_proposal");
    CHECK(remedy(f).yaml == Lines{"children:", "  net: {esp_proposals: [aes256gcm16, chacha20poly1305], ...}"});
    CHECK(remedy(f, configured(1)).yaml.empty());  // IKEv1 has no number for it
  }
  // IKE_AUTH has no groups, and PFS is not to be lost for it.
  config::GatewayConfig pfs = configured();
  pfs.connections[0].children[0].esp_proposals = parse_esp_proposal("aes256gcm16-ecp256").value();
  CHECK(remedy(of_child(refused(Exchange::IkeAuth, "aes128gcm16")), pfs).yaml[1] ==
        "  net: {esp_proposals: [aes256gcm16-ecp256, aes128gcm16-ecp256], ...}");
  CHECK(remedy(of_child(refused(Exchange::CreateChildSa, "aes128gcm16")), pfs).yaml.empty());
  const auto theirs = [](Exchange exchange) {
    return failure(exchange, Role::Initiator, Reason::PeerNoProposal,
                   {.number = 1, .evidence = ike::ProposalEvidence{"a", "", "", {}}, .said = "NO_PROPOSAL_CHOSEN"});
  };
  CHECK(cause_names(theirs(Exchange::IkeSaInit)) == std::vector<std::string>{"phase1_proposal", "no_peer_connection"});
  CHECK_THAT(remedy(theirs(Exchange::IkeSaInit)).note, Contains("Compare proposals with"));
  ike::Failure unseen = theirs(Exchange::IkeSaInit);  // it has given the IKE SA an SPI, and so has not come to the proposals
  unseen.cause.own_spi = true;
  CHECK(cause_names(unseen) == std::vector<std::string>{"no_peer_connection", "phase1_proposal"});
  CHECK_THAT(remedy(unseen).note, Contains("Look whether the peer has a connection of IKEv2 for our address"));
  CHECK(cause_names(of_child(theirs(Exchange::IkeAuth))) == std::vector<std::string>{"phase2_proposal"});
  CHECK_THAT(remedy(of_child(theirs(Exchange::IkeAuth))).note, Contains("esp_proposals, PFS included"));
  CHECK(first_cause(failure(Exchange::CreateChildSa, Role::Responder, Reason::NoProposalChosen, {})) == "phase1_proposal");
}

TEST_CASE("explain: a group that the peer wants and we do not have", "[explain][ikev2]") {
  const auto init = failure(Exchange::IkeSaInit, Role::Initiator, Reason::PeerNoProposal, {.number = 1, .said = "INVALID_KE_PAYLOAD"});
  CHECK(first_cause(init) == "phase1_proposal");
  CHECK_THAT(first_text(init), Contains("Diffie-Hellman group"));
  CHECK(remedy(init).note == "Compare proposals with the peer's configuration: here it is aes256-sha256-ecp256.");
  const auto child =
      of_child(failure(Exchange::CreateChildSa, Role::Initiator, Reason::PeerRefused, {.said = "INVALID_KE_PAYLOAD", .said_proven = true}));
  CHECK(first_cause(child) == "phase2_proposal");
  CHECK_THAT(first_text(child), Contains("PFS"));
  CHECK(remedy(child).note == "Compare esp_proposals, PFS included, with the peer's configuration: here it is aes256gcm16.");
}

TEST_CASE("explain: AUTHENTICATION_FAILED is the secret, or our identity, as far as the peer tells", "[explain][ikev2]") {
  using Names = std::vector<std::string>;
  using Problem = ike::SecretEvidence::Problem;
  const auto by = [](RefusedBy who) {
    return failure(Exchange::IkeAuth, who == RefusedBy::Peer ? Role::Initiator : Role::Responder, Reason::AuthFailed,
                   {.number = 3,
                    .evidence = ike::SecretEvidence{Problem::Differs, {}},
                    .said = "AUTHENTICATION_FAILED",
                    .said_proven = true,
                    .by = who});
  };
  CHECK(cause_names(by(RefusedBy::Peer)) == Names{"secret", "own_identity", "auth_method"});
  CHECK(cause_names(by(RefusedBy::Us)) == Names{"secret"});
  CHECK(remedy(by(RefusedBy::Peer)).yaml.empty());
  // Another method, such as EAP; and our proof refused by an initiator whose own was good.
  CHECK(cause_names(failure(Exchange::IkeAuth, Role::Responder, Reason::AuthFailed, {.number = 3})) == Names{"auth_method"});
  CHECK(cause_names(failure(Exchange::IkeAuth, Role::Responder, Reason::AuthFailed, {.number = 4, .by = RefusedBy::Peer})) ==
        Names{"own_identity", "secret", "auth_method"});
}

TEST_CASE("explain: a PPK that is in doubt comes first, and alone where it is known to be the fault", "[explain][ikev2][rfc8784-3]") {
  using Names = std::vector<std::string>;
  const auto of = [](RefusedBy who, ike::Evidence evidence) {
    return failure(Exchange::IkeAuth, Role::Responder, Reason::AuthFailed,
                   {.number = 3, .evidence = std::move(evidence), .ppk = "The PPKs differ.", .by = who});
  };
  const ike::SecretEvidence differs{ike::SecretEvidence::Problem::Differs, {}};
  CHECK(cause_names(of(RefusedBy::Us, {})) == Names{"ppk"});
  CHECK(first_text(of(RefusedBy::Us, {})) == "The PPKs differ.");
  CHECK(cause_names(of(RefusedBy::Us, differs)) == Names{"ppk", "secret"});
  CHECK(cause_names(of(RefusedBy::Peer, differs)) == Names{"ppk", "secret", "own_identity", "auth_method"});
  CHECK(cause_names(of(RefusedBy::Peer, ike::IdentityEvidence{"", "gw-a.example", true, false})) ==
        Names{"ppk", "own_certificate", "own_identity"});
  CHECK(remedy(of(RefusedBy::Us, differs)).yaml.empty());
  CHECK_THAT(remedy(of(RefusedBy::Us, differs)).note, Contains("ppk_id"));
  const auto silent = failure(Exchange::IkeAuth, Role::Responder, Reason::Timeout, {.number = 3, .on_4500 = true, .ppk = "It has one."});
  CHECK(cause_names(silent) == Names{"ppk", "port_4500", "one_way"});
}

TEST_CASE("explain: who is refused before anybody has asked for his name does not prove himself as is wanted",
          "[explain][ikev2][rfc7296-2.16]") {
  const auto at = [](unsigned number) {
    return failure(Exchange::IkeAuth, Role::Initiator, Reason::EapRefused,
                   {.number = number, .said = "AUTHENTICATION_FAILED", .by = RefusedBy::Peer});
  };
  CHECK(cause_names(at(3)) == std::vector<std::string>{"auth_method", "own_identity"});
  CHECK(first_cause(at(5)) == "user");
}

TEST_CASE("explain: who has no virtual address to give, and who asks for none", "[explain][ikev2][rfc7296-2.19]") {
  const auto peer = [](const char* said) {
    return failure(Exchange::IkeAuth, Role::Initiator, Reason::NoAddress,
                   {.number = 3, .evidence = ike::PoolEvidence{"", "the gateway gives no address"}, .said = said, .by = RefusedBy::Peer});
  };
  CHECK(first_cause(peer("INTERNAL_ADDRESS_FAILURE")) == "pool");
  CHECK(first_text(peer("INTERNAL_ADDRESS_FAILURE")) == "Virtual addresses: the gateway gives no address.");
  CHECK_THAT(remedy(peer("INTERNAL_ADDRESS_FAILURE")).note, Contains("See the gateway's pools"));
  CHECK(first_text(peer("FAILED_CP_REQUIRED")) == "The peer wants to give us a virtual address, and we do not ask for one.");
  CHECK_THAT(remedy(peer("FAILED_CP_REQUIRED")).note, Contains("`vips`"));
  const auto us = failure(Exchange::IkeAuth, Role::Responder, Reason::NoAddress,
                          {.number = 3, .evidence = ike::PoolEvidence{"a, b", "all IPv4 addresses are given away"}});
  CHECK(first_text(us) == "Pools a, b: all IPv4 addresses are given away.");
  CHECK_THAT(remedy(us).note, Contains("Give the connection `pools`"));
  config::GatewayConfig has = configured();
  has.connections[0].pools = {"a", "b"};
  CHECK_THAT(remedy(us, has).note, Contains("more addresses"));
}

TEST_CASE("explain: a RADIUS server that has not answered by this secret may know another one", "[explain][ikev2][radius]") {
  using Names = std::vector<std::string>;
  const auto of = [](bool unheard) {
    return failure(Exchange::IkeAuth, Role::Responder, Reason::RadiusTimeout,
                   {.number = 5, .evidence = ike::UserEvidence{"alice", "nothing came"}, .unheard = unheard});
  };
  CHECK(cause_names(of(true)) == Names{"radius_secret", "radius_silent"});
  CHECK(cause_names(of(false)) == Names{"radius_silent", "radius_secret"});
}

TEST_CASE("explain: whom the peer takes us for is suggested only when it has proved itself", "[explain][ikev2]") {
  const auto of = [](const char* wanted, bool proven) {
    return failure(Exchange::IkeAuth, Role::Responder, Reason::WrongIdentity,
                   {.number = 3, .evidence = ike::IdentityEvidence{wanted, "gw-a.example", true, proven}});
  };
  CHECK(first_cause(of("vpn.example", true)) == "own_identity");
  CHECK(first_text(of("vpn.example", true)) == "The peer takes us for vpn.example; we call ourselves gw-a.example.");
  CHECK(remedy(of("vpn.example", true)).yaml == std::vector<std::string>{"local: {id: vpn.example}"});
  CHECK(remedy(of("vpn.example", false)).yaml.empty());
  CHECK(remedy(of("x, auth: psk}", true)).yaml.empty());
  CHECK(remedy(of("", true)).yaml.empty());
  const auto theirs = failure(Exchange::IkeAuth, Role::Initiator, Reason::WrongIdentity,
                              {.number = 4, .evidence = ike::IdentityEvidence{"gw-b.example", "else.example", false, true}});
  CHECK(first_cause(theirs) == "peer_identity");
  CHECK(remedy(theirs).yaml == std::vector<std::string>{"remote: {id: else.example}"});
}

TEST_CASE("explain: the other version of IKE, whoever begins, with the line where the rest of the connection fits", "[explain][ikev2]") {
  using Lines = std::vector<std::string>;
  const auto of = [](Exchange exchange, Role role) { return failure(exchange, role, Reason::OtherVersion, {.number = 1}); };
  for (const auto& f : {of(Exchange::IkeSaInit, Role::Responder), of(Exchange::MainMode, Role::Initiator)}) {
    CHECK(first_text(f) == "The peer speaks IKEv2, this connection IKEv1.");
    CHECK(remedy(f, configured(1)).yaml == Lines{"version: 2"});
  }
  for (const auto& f : {of(Exchange::MainMode, Role::Responder), of(Exchange::IkeSaInit, Role::Initiator)}) {
    CHECK(first_text(f) == "The peer speaks IKEv1, this connection IKEv2.");
    CHECK(remedy(f).yaml == Lines{"version: 1"});
  }
  CHECK(first_cause(failure(Exchange::IkeSaInit, Role::Initiator, Reason::PeerRefused, {.said = "INVALID_MAJOR_VERSION"})) ==
        "ike_version");
  // A message that was not even read: the connection says which version it has not.
  CHECK(first_cause(of(Exchange::Informational, Role::Responder)) == "ike_version");
  CHECK(remedy(of(Exchange::Informational, Role::Responder), configured(1)).yaml == Lines{"version: 2"});
  CHECK(remedy(of(Exchange::Informational, Role::Responder), configured(2)).yaml == Lines{"version: 1"});
  // What the other version does not have is not to be lost.
  config::GatewayConfig c = configured(1);
  c.connections[0].pools = {"clients"};
  CHECK(remedy(of(Exchange::IkeSaInit, Role::Responder), c).yaml.empty());
  c = configured();
  c.connections[0].proposals = parse_ike_proposal_v2("aes256gcm16-prfsha256-ecp256").value();
  CHECK(remedy(of(Exchange::MainMode, Role::Responder), c).yaml.empty());
  c = configured();
  c.connections[0].children[0].esp_proposals = parse_esp_proposal_v2("chacha20poly1305").value();
  CHECK_THAT(remedy(of(Exchange::MainMode, Role::Responder), c).note, Contains("Configure the peer for IKEv2"));
}

TEST_CASE("explain: selectors of IKEv2, refused by either side", "[explain][ikev2]") {
  for (const Exchange exchange : {Exchange::IkeAuth, Exchange::CreateChildSa}) {
    ike::SelectorEvidence e{{"", "10.1.0.0/24", "10.77.0.0/24"}, {{"net", "10.1.0.0/24", "10.2.0.0/24"}}, false};
    const auto ours = failure(exchange, Role::Responder, Reason::SelectorMismatch, {.evidence = e});
    CHECK(first_cause(ours) == "selectors");
    CHECK(remedy(ours).yaml.size() == 2);
    const auto theirs =
        of_child(failure(exchange, Role::Initiator, Reason::PeerSelectorMismatch, {.number = 1, .evidence = e, .said = "TS_UNACCEPTABLE"}));
    CHECK(first_cause(theirs) == "selectors");
    CHECK(explain::comparison(theirs).rows[0][0] == "we asked for");
    CHECK_THAT(remedy(theirs).note, Contains("the other way round"));
  }
  const auto said = [](const char* what) {
    return first_cause(of_child(failure(Exchange::CreateChildSa, Role::Initiator, Reason::PeerRefused, {.said = what})));
  };
  CHECK(said("SINGLE_PAIR_REQUIRED") == "selectors");
  CHECK(said("NO_ADDITIONAL_SAS") == "limit");
  CHECK(said("FAILED_CP_REQUIRED") == "pool");
  CHECK(said("INVALID_SYNTAX") == "protocol");
  CHECK(said("notification 4711") == "peer_refused");
}

TEST_CASE("explain: users of EAP, by who refused them and why", "[explain][ikev2][eap]") {
  const auto user = [](Reason reason, Role role = Role::Responder, RefusedBy by = RefusedBy::Us) {
    return failure(Exchange::IkeAuth, role, reason, {.number = 5, .evidence = ike::UserEvidence{"alice", "this is why"}, .by = by});
  };
  for (const Reason reason : {Reason::EapUnknownUser, Reason::EapWrongPassword}) {
    CHECK(first_cause(user(reason)) == "user");
    CHECK(first_text(user(reason)) == "User alice: this is why.");
    CHECK(remedy(user(reason)).yaml.empty());
  }
  CHECK_THAT(remedy(user(Reason::EapUnknownUser)).note, Contains("remote.users") && Contains("remote.eap_id"));
  CHECK_THAT(remedy(user(Reason::EapWrongPassword)).note, Contains("password"));
  CHECK(first_cause(user(Reason::EapRefused, Role::Initiator, RefusedBy::Peer)) == "user");
  CHECK(first_cause(user(Reason::NoSecret)) == "user_unreadable");
  CHECK_THAT(remedy(user(Reason::NoSecret)).note, Contains("{plain} and {nt}"));
  for (const RefusedBy by : {RefusedBy::Us, RefusedBy::Peer}) {
    CHECK(first_cause(user(Reason::EapMethod, Role::Responder, by)) == "auth_method");
    CHECK_THAT(remedy(user(Reason::EapMethod, Role::Responder, by)).note, Contains("eap-mschapv2"));
  }
  // EAP-TLS: whose certificate it was, and what was wrong about it.
  const auto tls = [](Reason reason, const std::string& alert, RefusedBy by) {
    return failure(Exchange::IkeAuth, Role::Initiator, reason,
                   {.number = 5, .evidence = ike::UserEvidence{"gw.example", "this is why"}, .said = alert, .by = by});
  };
  CHECK(first_cause(tls(Reason::EapTls, "", RefusedBy::Us)) == "tls");
  CHECK(first_text(tls(Reason::EapTls, "", RefusedBy::Us)) == "EAP-TLS with gw.example: this is why.");
  CHECK(first_cause(tls(Reason::EapTls, "handshake failure", RefusedBy::Peer)) == "tls");
  for (const char* alert : {"unknown CA", "bad certificate", "certificate expired", "certificate unknown", "access denied"})
    CHECK(first_cause(tls(Reason::EapTls, alert, RefusedBy::Peer)) == "own_certificate");
  CHECK(first_cause(tls(Reason::WrongIdentity, "", RefusedBy::Us)) == "peer_identity");
  CHECK(first_text(tls(Reason::WrongIdentity, "", RefusedBy::Us)) == "EAP-TLS with gw.example: this is why.");
  CHECK_THAT(remedy(tls(Reason::EapTls, "", RefusedBy::Us)).note, Contains("TLS 1.2"));
  using Names = std::vector<std::string>;
  CHECK(cause_names(user(Reason::RadiusRejected)) == Names{"radius_rejected", "user"});
  CHECK(first_text(user(Reason::RadiusRejected)) == "User alice: this is why.");
  CHECK_THAT(remedy(user(Reason::RadiusRejected)).note, Contains("RADIUS server's log"));
  CHECK(cause_names(user(Reason::RadiusTimeout)) == Names{"radius_silent", "radius_secret"});
  CHECK_THAT(remedy(user(Reason::RadiusTimeout)).note, Contains("radius.servers"));
  CHECK(cause_names(user(Reason::RadiusForged)) == Names{"radius_secret"});
  CHECK_THAT(remedy(user(Reason::RadiusForged)).note, Contains("same secret"));
  // Without a word of EAP: what is said in clear of it, and who falls silent behind our certificate.
  CHECK(cause_names(failure(Exchange::IkeAuth, Role::Initiator, Reason::EapRefused, {.number = 5, .by = RefusedBy::Peer})) ==
        Names{"user", "auth_method", "own_identity"});
  CHECK(cause_names(failure(Exchange::IkeAuth, Role::Responder, Reason::Timeout, {.number = 5})) == Names{"own_certificate", "silence"});
}

TEST_CASE("explain: a ticket that is not taken", "[explain][ikev2][resume]") {
  CHECK(first_cause(failure(Exchange::IkeSaInit, Role::Responder, Reason::TicketRefused, {.number = 1})) == "ticket");
}

TEST_CASE("explain: a peer that was started anew", "[explain][ikev2][crash]") {
  const auto f = failure(Exchange::Informational, Role::Initiator, Reason::PeerRestarted, {.number = 2, .said = "INVALID_IKE_SPI"});
  CHECK(first_cause(f) == "peer_restarted");
  CHECK(f.by == RefusedBy::Peer);
  CHECK(remedy(f).yaml.empty());
}

TEST_CASE("explain: redirects in a circle, and those that are not followed", "[explain][ikev2][redirect]") {
  const auto of = [](Reason reason) { return failure(Exchange::IkeSaInit, Role::Initiator, reason, {.number = 2, .said = "REDIRECT"}); };
  CHECK(first_cause(of(Reason::RedirectLoop)) == "redirect_loop");
  CHECK_THAT(remedy(of(Reason::RedirectLoop)).note, Contains("redirect_to"));
  CHECK(first_cause(of(Reason::RedirectRefused)) == "redirect");
  CHECK(remedy(of(Reason::RedirectRefused)).yaml.empty());
  CHECK_THAT(remedy(of(Reason::RedirectRefused)).note, Contains("redirect_at: auth"));
}

}  // namespace explain_v2
