#include "common/config/schema.hpp"

#include "common/config/network.hpp"
#include "common/config/packet_rules.hpp"
#include "common/config/radius.hpp"
#include "common/config/remote_access.hpp"
#include "common/config/schema_ikev2.hpp"
#include "common/config/schema_rounds.hpp"
#include "common/config/selectors.hpp"
#include "common/shm/messages.hpp"
#include "common/shm/segment.hpp"

namespace culvert::config {

namespace {
using namespace std::chrono_literals;

constexpr std::size_t kMaxSides = 16;  ///< selectors of one side of a child: with IKEv1 each pair is a negotiation of its own

Section<Dataplane> dataplane_section() {
  const auto memory = Section<Memory>()
                          .key("hugepages", &Memory::hugepages, boolean(),
                               "Use hugepages. Without them everything works, but slower and without NICs that need physical addresses.")
                          .key("size", &Memory::size_mb, megabytes(64, 1U << 20), "Memory that DPDK takes at start.")
                          .key("mbufs", &Memory::mbufs, number<std::uint32_t>(1024, 1U << 24),
                               "Packet buffers in all, about 2.3 KB each at mtu 1500; they come out of size.");
  return Section<Dataplane>()
      .key("socket", &Dataplane::socket, socket_path(), "Where culvertd attaches to the data plane.")
      .key("workers", &Dataplane::workers, list_of(number<std::uint32_t>(0, 1023, "a CPU"), 1, shm::kMaxWorkers),
           "One worker for each CPU named here; a CPU that is named twice runs two.")
      .key("main_cpu", &Dataplane::main_cpu, number<std::uint32_t>(0, 1023, "a CPU"),
           "CPU of the manager, which does what is not per packet.")
      .key("idle", &Dataplane::idle, choice<Idle>({{"poll", Idle::Poll}, {"adaptive", Idle::Adaptive}}),
           "poll: workers never pause, for CPUs of their own. adaptive: they sleep up to 0.1 ms when idle, for shared CPUs.")
      .key("sa_capacity", &Dataplane::sa_capacity, power_of_two<std::uint32_t>(64, shm::kMaxSaCapacity),
           "IPsec SAs of each direction that can be installed at once. While a child is rekeyed it has two.")
      .key("control_user", &Dataplane::control_user, text("a user name, or empty: nobody", 32),
           "The user, besides root, that may attach as culvertd.")
      .map("memory", &Dataplane::memory, memory, "Memory of the data plane.")
      .key("eal_args", &Dataplane::eal_args, list_of(text("an argument"), 0, 64),
           "Further arguments for DPDK's EAL, passed on as they are.");
}

Section<Policy> policy_section() {
  return Section<Policy>()
      .key("name", &Policy::name, text("a name", 30), "Stands in logs; unique.")
      .required("management")
      .key("action", &Policy::action, choice<PolicyAction>({{"bypass", PolicyAction::Bypass}, {"discard", PolicyAction::Discard}}),
           "bypass: forward in clear. discard: drop.")
      .required("bypass")
      .key("local_ts", &Policy::local_ts, selector(), "Our side of the traffic.")
      .required("10.1.0.0/24[tcp/22]")
      .key("remote_ts", &Policy::remote_ts, selector(), "The other side.")
      .required("192.0.2.0/24")
      .key("priority", &Policy::priority, number<std::uint32_t>(1, kLowestPriority),
           "Of the policies and children that match a packet, the smallest number wins.")
      .key("vrf", &Policy::vrf, vrf_reference(), "The VRF whose packets it means.");
}

Section<Control> control_section() {
  const auto log =
      Section<Log>()
          .key("format", &Log::format, choice<LogFormat>({{"text", LogFormat::Text}, {"json", LogFormat::Json}}), "Form of a line.")
          .key("level", &Log::level,
               choice<LogLevel>(
                   {{"debug", LogLevel::Debug}, {"info", LogLevel::Info}, {"warn", LogLevel::Warn}, {"error", LogLevel::Error}}),
               "The least that is written.")
          .key("file", &Log::file, file_path(),
               "Where culvertd writes; empty: standard error. culvert-dataplane always writes to standard error.");
  const auto metrics =
      Section<Control>().key("listen", &Control::metrics_listen, listen_address(), "Where Prometheus scrapes; off: nowhere.");
  return Section<Control>()
      .key("socket", &Control::socket, socket_path(), "Where the culvert command finds culvertd.")
      .key("user", &Control::user, text("a user name, or empty", 32), "culvertd becomes this user after start; empty: it stays as it is.")
      .key("group", &Control::group, text("a group name, or empty", 32),
           "Members of this group may use the socket; empty: its owner alone.")
      .key("state_dir", &Control::state_dir, file_path(),
           "A directory of control.user's alone, where culvertd keeps a secret that outlives it. After a restart it can then show peers "
           "that their IKE SAs are lost (quick crash detection, RFC 6290), so that they begin anew at once. Empty: none is kept.")
      .inner("metrics", metrics, "Prometheus endpoint.")
      .map("log", &Control::log, log, "The log. format and level hold for both processes.");
}

Section<Ike> ike_section() {
  return Section<Ike>()
      .key("retransmit_timeout", &Ike::retransmit_timeout, duration<Milliseconds>(50ms, 60s),
           "Wait before a request is sent again for the first time.")
      .key("retransmit_base", &Ike::retransmit_base, factor(1, 4), "Each further wait is longer by this factor.")
      .key("retransmit_tries", &Ike::retransmit_tries, number<std::uint32_t>(1, 20),
           "A request is sent again so many times, then the exchange fails; while IKEv2 comes up more often in the same time.")
      .key("keepalive", &Ike::keepalive, duration<Seconds>(5s, 1h, "no keepalives"), "Interval of NAT keepalives (RFC 3948 §4).")
      .key("half_open_limit", &Ike::half_open_limit, number<std::uint32_t>(1, 1'000'000),
           "Negotiations begun by others that may be under way in all.")
      .key("half_open_per_source", &Ike::half_open_per_source, number<std::uint32_t>(1, 1'000'000), "The same, for each source address.")
      .key("half_open_timeout", &Ike::half_open_timeout, duration<Seconds>(1s, 10min), "A negotiation that takes longer is dropped.")
      .key("crypto_threads", &Ike::crypto_threads, number<std::uint32_t>(1, 64),
           "Threads for Diffie-Hellman, signatures, certificates and passwords.")
      .key("fragment_size", &Ike::fragment_size, number<std::uint16_t>(576, 9000, "bytes"),
           "An IKE message that makes a longer IP packet is sent in fragments of this size, to peers that take them in.")
      .key("retry_delay", &Ike::retry_delay, duration<Seconds>(1s, 60s),
           "Wait before start_action: start tries again after a failure; doubles up to 60s.");
}

/// A hard limit that was not given lies 10 % behind the soft one, as in swanctl.
std::uint64_t behind(std::uint64_t soft) { return soft + soft / 10; }

Seconds tenth(Seconds s) { return std::max(s / 10, Seconds{1}); }

void finish_child(const At& at, Child& c) {
  if (!at.given("dpd_action"))
    c.dpd_action = c.start_action == StartAction::Start  ? DpdAction::Restart
                   : c.start_action == StartAction::Trap ? DpdAction::Trap
                                                         : DpdAction::Clear;
  if (!at.given("life_time")) c.life_time = c.rekey_time + tenth(c.rekey_time);
  if (!at.given("rand_time")) c.rand_time = c.rekey_time > Seconds{1} ? tenth(c.rekey_time) : Seconds{0};
  if (!at.given("life_bytes")) c.life_bytes = behind(c.rekey_bytes);
  if (!at.given("life_packets")) c.life_packets = behind(c.rekey_packets);
}

Section<Child> child_section() {
  const auto packets = number<std::uint64_t>(0, 1ULL << 40, "packets (0: no limit)");
  return Section<Child>()
      .key("local_ts", &Child::local_sides, list_of(side_selector(), 1, kMaxSides),
           "Traffic of our side that belongs into the tunnel; dynamic: our address, a virtual one if the peer gives us one. With version: "
           "1 each pair of a local and a remote selector has IPsec SAs of its own, named net/1x1, net/1x2 and so on. With version: 2 one "
           "CHILD SA has them all, of both families, if there are at most 16 in local_ts and remote_ts together.")
      .required("10.1.0.0/24")
      .key("remote_ts", &Child::remote_sides, list_of(side_selector(), 1, kMaxSides),
           "Traffic of the other side; dynamic: the peer's address, a virtual one if we give it one. Of a connection with many peers each "
           "may have a part of this, which no other has at the time.")
      .required("10.2.0.0/24")
      .key("esp_proposals", &Child::esp_proposals, esp_proposals(),
           "ESP suites, the preferred one first; with a Diffie-Hellman group there is PFS, of several groups IKEv1 tries one after "
           "the other. esn: extended sequence numbers (RFC 4304); esn-noesn: either. With version: 2 a group may have additional key "
           "exchanges beside "
           "it, as in proposals.")
      .required("[aes256gcm16-ecp256, aes128gcm16, aes256-sha256-modp2048]")
      .unless("ah_proposals")
      .key("ah_proposals", &Child::ah_proposals, ah_proposals(),
           "AH suites (RFC 4302), besides those of ESP or instead: the packets are authenticated and not encrypted. Not through a NAT.")
      .key("mode", &Child::mode,
           choice<SaMode>({{"tunnel", SaMode::Tunnel}, {"transport", SaMode::Transport}},
                          {{"beet", "it is not supported"},
                           {"pass", "write an entry in policies with action: bypass"},
                           {"drop", "write an entry in policies with action: discard"}}),
           "tunnel: whole IP packets go into the tunnel. transport: for traffic between this gateway and the peer themselves; the peer may "
           "choose tunnel mode all the same.")
      .key("start_action", &Child::start_action,
           choice<StartAction>({{"none", StartAction::None}, {"start", StartAction::Start}, {"trap", StartAction::Trap}}),
           "none: wait for the peer or the operator. start: negotiate at once, and again whenever it is lost. trap: negotiate when a "
           "packet wants it.")
      .key("dpd_action", &Child::dpd_action,
           choice<DpdAction>(
               {{"none", DpdAction::None}, {"clear", DpdAction::Clear}, {"trap", DpdAction::Trap}, {"restart", DpdAction::Restart}}),
           "When the peer is dead. none: it is only logged. clear: the SAs are removed. trap: and the next packet negotiates. restart: and "
           "they are negotiated again at once.")
      .derived("restart with start_action: start, trap with trap, else clear")
      .key("rekey_time", &Child::rekey_time, duration<Seconds>(1s, 720h), "Age at which the IPsec SAs are replaced.")
      .key("life_time", &Child::life_time, duration<Seconds>(1s, 720h), "Age at which they end, replaced or not.")
      .derived("110 % of rekey_time")
      .key("rand_time", &Child::rand_time, duration<Seconds>(1s, 720h, "none"),
           "A random time up to this is taken off rekey_time, so that not all SAs are replaced at once.")
      .derived("10 % of rekey_time")
      .key("rekey_bytes", &Child::rekey_bytes, bytes_or_none(), "The same by amount of traffic: replaced after so many bytes ...")
      .key("life_bytes", &Child::life_bytes, bytes_or_none(), "... and ended after so many.")
      .derived("110 % of rekey_bytes")
      .key("rekey_packets", &Child::rekey_packets, packets, "The same by packets: replaced after so many ...")
      .key("life_packets", &Child::life_packets, packets, "... and ended after so many.")
      .derived("110 % of rekey_packets")
      .key("replay_window", &Child::replay_window, power_of_two<std::uint16_t>(32, 8192),
           "How far, in packets, one may be overtaken by others and still be taken.")
      .keys_of(&Child::rules, packet_rules_section())
      .keys_of(&Child::per_cpu, per_cpu_section())
      .key("priority", &Child::priority, number<std::uint32_t>(1, kLowestPriority),
           "Of the policies and children that match a packet, the smallest number wins.")
      .key("tunnel", &Child::tunnel, text("the name of a tunnel, or empty", 30),
           "Route-based: bound to this tunnel. Routes choose what goes into it, of what no policy and no other child protects or discards; "
           "local_ts and remote_ts only say what it may carry, 0.0.0.0/0 or ::/0 for all: a child for each of the two families.")
      .key("vrf", &Child::vrf, vrf_reference(),
           "The VRF of the packets inside: its selectors mean addresses there, and what comes out of the tunnel is routed there.")
      .derived("that of the connection")
      .example("default")
      .finish(finish_child);
}

/// Proposals are read by the version, before or behind which they may stand.
void read_version_first(At& at) {
  const Node* version = at.node.find("version");
  at.ike_version = version && version->kind == Node::Kind::Scalar && version->text == "2" ? 2 : 1;
}

void finish_connection(const At& at, Connection& c) {
  c.children = at.ike_version == 2 ? join(c.children) : expand(c.children);
  for (const TrafficSelector& r : c.remotes) {
    if (r.first == r.last)
      c.remote_addrs.push_back(r.first);
    else
      c.remote_ranges.push_back(r);
  }
  if (!at.given("over_time")) c.over_time = tenth(c.rekey_time);
  const Seconds age = c.renewal.reauth_time == Seconds{0} ? c.rekey_time : std::min(c.rekey_time, c.renewal.reauth_time);
  if (!at.given("rand_time")) c.rand_time = age > Seconds{1} ? tenth(age) : Seconds{0};
  if (!at.given("mobike"))
    c.mobike = at.ike_version == 2 && std::ranges::none_of(c.children, [](const Child& one) { return one.mode == SaMode::Transport; });
  if (!at.given("dpd_timeout")) c.dpd_timeout = c.dpd_delay == Seconds{0} ? Connection{}.dpd_timeout : 5 * c.dpd_delay;
  order_sides(at, c);
}

Section<LocalAuth> local_auth_section() {
  return Section<LocalAuth>()
      .key(
          "auth", &LocalAuth::auth, auth_method(false),
          "How we prove it. psk: with the secret. pubkey: with a signature of key, for which certs has the certificate. xauth: with the "
          "user name and password of xauth alone, behind the peer's signature (hybrid authentication). eap-mschapv2, eap-md5: with "
          "version: 2, by EAP behind the peer's signature, with eap_id and password. eap-tls: the same with certs and key. rsa/pss and the "
          "others, with version: 2: pubkey, with this signature; of the hashes the first one that the peer takes. RSA signs by PKCS #1 "
          "v1.5 with pubkey, and by PSS to a peer that has begun and done so itself.")
      .key("certs", &LocalAuth::certs, list_of(certificate_file(), 0, 8),
           "With pubkey and eap-tls: files of our certificate and, behind it, of intermediate authorities that the peer may lack. These "
           "files, and all others of keys and certificates, are read again when they change.")
      .key("key", &LocalAuth::key, key_reference(),
           "With pubkey and eap-tls: where the private key is, RSA, ECDSA or (version: 2) Ed25519 or Ed448, not encrypted: a file of mode "
           "0600.")
      .key("eap_id", &LocalAuth::eap_id, text("a user name, or empty: id", 255),
           "With EAP: the user that we are, such as branch-7. With eap-tls it must be a name that our certificate carries.")
      .key("aaa_id", &LocalAuth::aaa_id, identity(),
           "With eap-tls: who the server of EAP is, by its certificate, which is of one of remote.cacerts. %any: the peer itself.")
      .key("password", &LocalAuth::password, or_none(secret_reference()), "With EAP: where its password is, as for secret.")
      .keys_of(&LocalAuth::place, place_section());
}

Section<RemoteAuth> remote_auth_section() {
  return Section<RemoteAuth>()
      .key(
          "auth", &RemoteAuth::auth, auth_method(true),
          "How the peer proves it. pubkey: with a signature, and a certificate of cacerts or certs. xauth: with a user name and password "
          "alone, behind our signature (hybrid authentication). eap-mschapv2, eap-md5: with version: 2, by EAP, as Windows and phones do, "
          "behind our signature; eap-md5, which makes no key, must be named in allow_weak. eap-tls: the same with a certificate of cacerts "
          "or certs that carries the user's name; the server of it is this gateway, by its certificate. eap-radius: by whichever method a "
          "server of radius asks for, which must make a key unless allow_weak has eap-md5. ike:rsa/pss-sha256 and the like, with version: "
          "2: pubkey, and its signature must be such a one.")
      .key("cacerts", &RemoteAuth::cacerts, list_of(certificate_file(), 0, 32),
           "With pubkey and eap-tls: files of the authorities that this connection trusts.")
      .key("certs", &RemoteAuth::certs, list_of(certificate_file(), 0, 32),
           "With pubkey and eap-tls: files of peers' certificates that are trusted as they are, whoever has signed them.")
      .key("crls", &RemoteAuth::crls, list_of(certificate_file(), 0, 32), "Files of revocation lists of these authorities.")
      .key("revocation", &RemoteAuth::revocation,
           choice<Revocation>({{"ignore", Revocation::Ignore}, {"ifuri", Revocation::IfUri}, {"strict", Revocation::Strict}}),
           "ifuri: where a certificate or crls names a revocation list, the certificate must be good by it. strict: no certificate without "
           "such an answer. ignore: nobody asks.")
      .key("eap_id", &RemoteAuth::eap_id, user_pattern(),
           "With EAP: the users that this connection is for. Of several connections with the same local.id the first one is taken that "
           "has the user's name.")
      .key("users", &RemoteAuth::users, or_none(users_file()),
           "With eap-mschapv2 and eap-md5: the file of users as in xauth.users, with passwords as {plain} or {nt}: no other form can be "
           "compared by EAP.")
      .keys_of(&RemoteAuth::place, place_section());
}

Section<Connection> connection_section() {
  const auto local = Section<Connection>()
                         .key("id", &Connection::local_id, identity(), "Who we say we are.")
                         .derived("the first of local_addrs, with pubkey the subject of the certificate")
                         .example("gw-a.example")
                         .keys_of(&Connection::local_auth, local_auth_section())
                         .map("xauth", &Connection::xauth_client, xauth_client_section(),
                              "We are a user of the peer's, who asks for name and password behind phase 1 (XAuth).");
  const auto remote =
      Section<Connection>()
          .key("id", &Connection::remote_id, identity_pattern(), "Who the peer must say it is; its certificate must say so, too.")
          .example("gw-b.example")
          .keys_of(&Connection::remote_auth, remote_auth_section())
          .map("xauth", &Connection::xauth_server, xauth_server_section(),
               "The peer is a user: it is asked for name and password behind phase 1 (XAuth), before it gets a tunnel.");
  Section<Connection> out;
  out.first(read_version_first)
      .key("version", &Connection::version,
           choice<std::uint8_t>({{"1", 1}, {"2", 2}}, {{"0", "to leave the choice to the peer is not supported yet"}}), "IKE version.")
      .key("local_addrs", &Connection::local_addrs, list_of(address(), 1, 16),
           "Own addresses, each of a port; the first is used to initiate.")
      .required("[10.9.0.1]")
      .key("remote_addrs", &Connection::remotes, remote_addresses(),
           "Addresses of the peer, tried in this order; networks and ranges, from where it may call; %any: from anywhere. Without a single "
           "address we only respond.")
      .example("[10.9.0.2]")
      .key("proposals", &Connection::proposals, ike_proposals(),
           "IKE suites, the preferred one first. With version: 2 they may also name the pseudo-random function, as an AEAD needs it: "
           "aes128gcm16-prfsha256-ecp256, aes256-sha256-prfsha384-ecp384. ke1_NAME to ke7_NAME are additional key exchanges (RFC 9370), "
           "with ke1_none such as may be left out: aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_none. mlkem512, mlkem768 and mlkem1024 "
           "need "
           "OpenSSL 3.5.")
      .required("[aes256-sha256-ecp256, aes256-sha256-modp2048]")
      .key("allow_weak", &Connection::allow_weak, list_of(weak_algorithm(), 0, 32),
           "Broken or weak algorithms that proposals of this connection may name all the same, for a legacy peer: [3des, md5, modp1024]. "
           "rsa1024 and sha1cert are what its certificates may have, eap-md5 how its user may prove himself. Each is warned about.")
      .inner("local", local, "Our side.")
      .inner("remote", remote, "The other side.");
  add_further_sides(out, local_auth_section(), remote_auth_section());
  return out
      .key("secret", &Connection::secret, secret_reference(),
           "With auth: psk, where the pre-shared key is: a file of mode 0600 (one newline at its end is cut) or an environment variable.")
      .example("file:/etc/culvert/site-b.psk")
      .keys_of(&Connection::ppk, ppk_section())
      .key("pools", &Connection::pools, list_of(text("the name of a pool", 30), 0, 16),
           "Pools that the peer's virtual address comes from, the first one that has a free one (Mode Config; with version: 2 the "
           "configuration payload). It is tied to the peer's identity, or to its user name.")
      .key("vips", &Connection::vips, virtual_addresses(),
           "The virtual addresses that we ask the peer for, with version: 2 one of each family; 0.0.0.0, \"::\": any. They become local_ts "
           "of children that are dynamic. The host behind us that uses one has it among its own addresses, and a route leads to it; "
           "nothing is translated.")
      .example("[0.0.0.0]")
      .key("mode_config", &Connection::mode_config, choice<ModeConfig>({{"pull", ModeConfig::Pull}, {"push", ModeConfig::Push}}),
           "Who begins when virtual addresses are given. pull: the one that wants one asks. push: the one that gives it.")
      .key("unique", &Connection::unique,
           choice<Unique>({{"replace", Unique::Replace}, {"keep", Unique::Keep}, {"never", Unique::Never}, {"no", Unique::No}}),
           "What happens when an identity that is connected connects from elsewhere. replace: its old SAs end. keep: the newcomer is "
           "refused. never: the identity is a group's, each address and port that it calls from is a peer of its own; with version: 2 "
           "INITIAL_CONTACT is neither heeded nor sent. no, with version: 2: as never, but who says INITIAL_CONTACT has nothing else.")
      .key("aggressive", &Connection::aggressive, boolean(),
           "Phase 1 is Aggressive Mode instead of Main Mode: three messages, identities in clear. With auth: psk it is only initiated, "
           "unless the next key says more.")
      .key("aggressive_psk_exposes_hash_to_offline_guessing", &Connection::aggressive_psk_exposes_hash, boolean(),
           "With aggressive and auth: psk, answer Aggressive Mode, too. Whoever sends one datagram then gets a hash of the secret, and can "
           "try guesses against it at leisure, unseen. Only for peers that can do nothing else, and with a secret that nobody guesses: 20 "
           "random characters and more.")
      .key("encap", &Connection::encap, boolean(), "Put ESP into UDP even without a NAT between.")
      .key("mobike", &Connection::mobike, boolean(),
           "With version: 2, take the tunnels to other addresses without making them anew (RFC 4555): those of local_addrs and "
           "remote_addrs, and for a peer that roams wherever remote_addrs lets it. IKE then goes by port 4500 with peers that can do it. "
           "Tunnel mode "
           "only: a connection with a child of mode: transport does without.")
      .derived("true with version: 2 and tunnel mode alone, else false")
      .keys_of(&Connection::counter_sync, counter_sync_section())
      .keys_of(&Connection::window, window_section())
      .keys_of(&Connection::redirection, redirection_section())
      .keys_of(&Connection::resumption, resumption_section())
      .key(
          "fragmentation", &Connection::fragmentation,
          choice<Fragmentation>(
              {{"no", Fragmentation::No}, {"accept", Fragmentation::Accept}, {"yes", Fragmentation::Yes}, {"force", Fragmentation::Force}}),
          "Fragments of IKE messages (Cisco and Microsoft; with version: 2 those of RFC 7383). accept: they are taken in. yes: and sent to "
          "a peer that takes them in. force: and sent to any peer, with version: 1 only.")
      .key("rekey_time", &Connection::rekey_time, duration<Seconds>(1s, 720h), "Age at which the ISAKMP SA is replaced.")
      .key("over_time", &Connection::over_time, duration<Seconds>(1s, 720h),
           "From then, time to its end, replaced or not. An initiator "
           "that asks for more is told so; of shorter lifetimes, also in kilobytes (from 64), the shortest holds.")
      .derived("10 % of rekey_time")
      .keys_of(&Connection::renewal, renewal_section())
      .key("rand_time", &Connection::rand_time, duration<Seconds>(1s, 720h, "none"), "A random time up to this is taken off both.")
      .derived("10 % of the shorter one of the two")
      .key("dpd_delay", &Connection::dpd_delay, duration<Seconds>(1s, 24h, "no dead-peer detection"),
           "A peer that was silent for so long is asked whether it lives (RFC 3706).")
      .key(
          "dpd_timeout", &Connection::dpd_timeout, duration<Seconds>(1s, 168h),
          "Of IKEv1: a peer that was silent for so long is taken for dead. With version: 2 one is that answers no repetition of a request.")
      .derived("5 times dpd_delay")
      .key("vrf", &Connection::vrf, vrf_reference(),
           "The VRF outside: that of local_addrs, by which the peer is reached. Children may have another one inside.")
      .named("children", &Connection::children, child_section(), shm::kConfiguredPolicies, "net",
             "The tunnels of this connection; each is a pair of IPsec SAs.")
      .finish(finish_connection);
}

}  // namespace

const Section<GatewayConfig>& schema() {
  static const Section<GatewayConfig> root =
      Section<GatewayConfig>()
          .map("dataplane", &GatewayConfig::dataplane, dataplane_section(), "The process that carries packets.")
          .key("vrfs", &GatewayConfig::vrfs, list_of(text("the name of a VRF", 30), 0, kMaxVrfs - 1),
               "VRFs by name, besides the one named default: each has addresses, routes and policies of its own, so that networks with the "
               "same addresses share this gateway. Each takes 16 MB of memory.size, 32 more with IPv6, and as "
               "much again from some hundred routes on.")
          .example("[customer-a, customer-b]")
          .named("ports", &GatewayConfig::ports, port_section(), shm::kMaxPorts, "wan", "Network ports by name; at least one.")
          .named("vlans", &GatewayConfig::vlans, vlan_section(), shm::kMaxVlans, "wan.100",
                 "VLANs of the ports by name (802.1Q), each an interface like a port: routes name it, and neighbours are behind it.")
          .named("tunnels", &GatewayConfig::tunnels, tunnel_section(), kMaxTunnels, "st0",
                 "Tunnel interfaces by name, for route-based children: routes lead into them.")
          .list("routes", &GatewayConfig::routes, route_section(), kMaxRoutes,
                "Static routes. The networks of the ports' own addresses need none.")
          .list("policies", &GatewayConfig::policies, policy_section(), shm::kConfiguredPolicies,
                "Traffic that is no tunnel's: forwarded in clear or dropped.")
          .key("default_policy", &GatewayConfig::default_policy,
               choice<PolicyAction>({{"bypass", PolicyAction::Bypass}, {"discard", PolicyAction::Discard}}),
               "What happens to forwarded packets that match nothing else. Those of addresses of pools whose client is away are never let "
               "through.")
          .map("control", &GatewayConfig::control, control_section(), "culvertd: its socket, metrics and log.")
          .map("ike", &GatewayConfig::ike, ike_section(), "IKE settings for all connections.")
          .map("radius", &GatewayConfig::radius, radius_section(), "Servers that know the users of connections with auth: eap-radius.")
          .named("pools", &GatewayConfig::pools, pool_section(), kMaxPools, "clients", "Virtual addresses for peers, by name.")
          .named("connections", &GatewayConfig::connections, connection_section(), kMaxConnections, "site-b", "Peers by name.")
          .finish(finish_network);
  return root;
}

}  // namespace culvert::config
