// The keys of a connection that IKEv2 alone has, and that come in groups. A part of schema.cpp.
#include "common/config/schema_ikev2.hpp"

namespace culvert::config {

Section<Ppk> ppk_section() {
  return Section<Ppk>()
      .key("ppk_id", &Ppk::id, text("a name, or empty: none", 64),
           "With version: 2, the name that both sides know their post-quantum pre-shared key by (RFC 8784): a secret beside what each "
           "side proves itself by that is mixed into the keys, so that whoever records today and breaks the key exchange one day cannot "
           "read. "
           "What is said before it does not protect; with EAP-MSCHAPv2, that is what passwords can be guessed by.")
      .key("ppk", &Ppk::secret, or_none(secret_reference()), "Where it is, as for secret: 32 random bytes, or more.")
      .key("ppk_required", &Ppk::required, boolean(),
           "Nothing is negotiated without it. false: with a peer that lacks it, it goes without.");
}

namespace {
Kind<GatewayName> gateway_or_none() {
  const std::string expects = "an address, or a name such as vpn2.example.org, or empty: none";
  return {expects,
          [=](const At& at) -> std::optional<GatewayName> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            if (value->empty()) return GatewayName{};
            auto out = parse_gateway(*value);
            if (!out) at.expected(expects);
            return out;
          },
          [](const GatewayName& v) { return v.none() ? std::string("\"\"") : v.to_string(); }};
}
}  // namespace

Section<CounterSync> counter_sync_section() {
  return Section<CounterSync>().key(
      "counter_sync", &CounterSync::enabled, choice<bool>({{"no", false}, {"yes", true}}),
      "With version: 2, whether message IDs and the sequence numbers of ESP and AH may be set right with a peer that can do it, too (RFC "
      "6311): when the peer is a cluster whose other member has taken over, or when an operator says `culvert sync-counters`.");
}

Section<Window> window_section() {
  return Section<Window>().key(
      "window", &Window::size, number<std::uint32_t>(1, 32),
      "With version: 2, so many requests the peer may have under way at once (RFC 7296 section 2.3), such as Cisco's routers, which use up "
      "to 5: above 1 it is told so (SET_WINDOW_SIZE). Whatever order they come in, they are answered in that of their message IDs. Of "
      "ours there is one at a time.");
}

Section<Redirection> redirection_section() {
  using Follow = Redirection::Follow;
  return Section<Redirection>()
      .key("redirect", &Redirection::follow,
           choice<Follow>({{"yes", Follow::Yes}, {"authenticated", Follow::Authenticated}, {"no", Follow::No}}),
           "With version: 2, whether we follow a gateway that sends us to another one (RFC 5685), which must prove to be remote.id as "
           "the "
           "first one must. yes: also with the answer to the first message, which comes in clear: whoever can read our messages on the "
           "way can forge it, and have us ask in vain somewhere else. authenticated: only a gateway that has proved itself.")
      .key("redirect_to", &Redirection::to, gateway_or_none(),
           "With version: 2, where clients that can do it are sent instead of being served here, by their address or by a name that they "
           "look up. For those that are connected there is `culvert redirect`.")
      .key("redirect_at", &Redirection::at_once, choice<bool>({{"auth", false}, {"init", true}}),
           "When. auth: when they have proved who they are, and we have. init: at once, without a key exchange.");
}

Section<Resumption> resumption_section() {
  return Section<Resumption>()
      .key(
          "resumption", &Resumption::enabled, choice<bool>({{"no", false}, {"yes", true}}),
          "With version: 2, yes: clients are given a ticket, with which they come back without a key exchange, a certificate or EAP, and "
          "ask "
          "for one (RFC 5723). Who learns the keys of an IKE SA one day then knows those of the ones that went on from it by tickets, too.")
      .key("resumption_lifetime", &Resumption::lifetime, duration<Seconds>(std::chrono::minutes(1), std::chrono::hours(24)),
           "So long after a client has proved itself without a ticket its tickets are good.");
}

Section<Renewal> renewal_section() {
  using namespace std::chrono_literals;
  return Section<Renewal>()
      .key("childless", &Renewal::childless,
           choice<Childless>(
               {{"allow", Childless::Allow}, {"prefer", Childless::Prefer}, {"force", Childless::Force}, {"never", Childless::Never}}),
           "With version: 2, whether IKE_AUTH goes without a CHILD SA (RFC 6023), and each is made afterwards, with a key exchange of its "
           "own where esp_proposals have a group. allow: where the peer begins so. prefer: and where we begin, with a peer that can do "
           "it. force: only so. never: not even then.")
      .key("reauth_time", &Renewal::reauth_time, duration<Seconds>(1s, 720h, "never"),
           "With version: 2, age of an IKE SA, rekeyed or not, at which both sides prove themselves anew: whoever has begun it makes "
           "another "
           "one with all that is under it, and then deletes this one, without a gap. A gateway tells its clients (RFC 4478); who has not "
           "done "
           "so when over_time is over, too, is no longer served. ISAKMP SAs of version: 1 begin anew at each rekey_time.");
}

Section<PerCpu> per_cpu_section() {
  return Section<PerCpu>()
      .key("per_cpu_sas", &PerCpu::sas, choice<bool>({{"no", false}, {"yes", true}}),
           "With version: 2, yes: beside its CHILD SA for all workers the child has one more for each worker (RFC 9611), for one tunnel "
           "over all cores. A worker encrypts what comes to it under its own, so that a flow stays in order, and nothing is handed over "
           "to another worker; without one of its own it uses the first. With one worker: as many as the peer asks for.")
      .key("per_cpu_sas_limit", &PerCpu::limit, number<std::uint16_t>(1, 512),
           "So many of these are made for one peer at most; it is refused more (TS_MAX_QUEUE).");
}

}  // namespace culvert::config
