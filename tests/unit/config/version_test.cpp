// Connections with version: 2: what is read differently, what is refused because only IKEv1 has it, and what is refused until it is
// carried.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/unit/config/version_text.hpp"

using namespace culvert;
using namespace culvert::config;
using namespace culvert::test;
using Rows = std::vector<std::string>;

TEST_CASE("a connection speaks IKEv1 unless it says otherwise", "[config][version]") {
  CHECK(connection(kBase).version == 2);
  CHECK(connection(with("version: 2", "version: 1")).version == 1);
  CHECK(connection(with("    version: 2\n", "")).version == 1);
  CHECK(findings(kBase).empty());
  CHECK(findings(with("version: 2", "version: 0")) ==
        Rows{":16:14: connections.b.version: expected 1 or 2, got '0': to leave the choice to the peer is not supported yet"});
  CHECK(findings(with("version: 2", "version: 3")) == Rows{":16:14: connections.b.version: expected 1 or 2, got '3'; did you mean '1'?"});
  CHECK(findings(with("version: 2", "version: [2]")) == Rows{":16:14: connections.b.version: expected 1 or 2, got a list"});
}

TEST_CASE("proposals are read by the version, wherever it stands", "[config][version]") {
  const std::string aead = "proposals: [aes128gcm16-prfsha256-x25519-ecp256, aes256-sha256-prfsha384-ecp384]";
  const auto read = connection(with("proposals: [aes256-sha256-modp2048]", aead)).proposals;
  REQUIRE(read.size() == 3);
  CHECK(read[0].to_string() == "aes128gcm16-prfsha256-curve25519");
  CHECK(read[2] == IkeSuite{Encr::AesCbc, 256, Prf::HmacSha2_384, DhGroup::Ecp384, Integ::HmacSha2_256_128});
  CHECK(connection(kBase).proposals == parse_ike_proposal_v2("aes256-sha256-modp2048").value());
  CHECK(connection(with("version: 2", "version: 1")).proposals == parse_ike_proposal("aes256-sha256-modp2048").value());
  const std::string front = with("    version: 2\n", "", with("  b:\n", "  b:\n    version: 2\n"));
  CHECK(connection(front).proposals == parse_ike_proposal_v2("aes256-sha256-modp2048").value());
  // Another connection of the same file has its own.
  const auto both = load_text(kBase + R"(  c:
    local_addrs: 10.9.0.1
    remote_addrs: 10.9.0.3
    proposals: [aes256-sha256-modp2048]
    remote: {id: gw-c.example}
    secret: file:/run/x/psk
    children:
      net: {local_ts: 10.1.0.0/24, remote_ts: 10.4.0.0/24, esp_proposals: [aes128gcm16]}
)",
                              "");
  REQUIRE(both);
  CHECK(both->config.connections.at(1).proposals.at(0).integ == Integ::None);
  CHECK(both->config.connections.at(0).proposals.at(0).integ == Integ::HmacSha2_256_128);
}

TEST_CASE("CHILD SAs for each worker", "[config][version][rfc9611]") {
  const auto child = [](const std::string& more) { return connection(with("[aes128gcm16]", "[aes128gcm16], " + more)).children.at(0); };
  CHECK_FALSE(child("priority: 1").per_cpu.sas);
  CHECK(child("priority: 1").per_cpu.limit == 64);
  CHECK(child("per_cpu_sas: yes").per_cpu.sas);
  CHECK(child("per_cpu_sas: yes, per_cpu_sas_limit: 2").per_cpu.limit == 2);
  const auto finding = [](const std::string& more, const std::string& version = "version: 2") {
    const auto found = findings(with("version: 2", version, with("[aes128gcm16]", "[aes128gcm16], " + more)));
    REQUIRE(found.size() == 1);
    return found[0].substr(found[0].find("per_cpu"));
  };
  CHECK(finding("per_cpu_sas: yse") == "per_cpu_sas: expected no or yes, got 'yse'; did you mean 'yes'?");
  CHECK(finding("per_cpu_sas: encap").starts_with("per_cpu_sas: expected no or yes, got 'encap'"));
  CHECK(finding("per_cpu_sas_limit: 0").starts_with("per_cpu_sas_limit: expected a number from 1 to 512, got '0'"));
  CHECK(finding("per_cpu_sas: yes", "version: 1") ==
        "per_cpu_sas: expected no such key with version: 1: CHILD SAs for each worker are of IKEv2 (RFC 9611)");
}

TEST_CASE("children of IKEv2 may have what IKEv1 has no number for", "[config][version][rfc7634][rfc4494]") {
  const auto child = connection(with("[aes128gcm16]", "[chacha20poly1305-x25519, aes128-aescmac], ah_proposals: [aescmac]")).children.at(0);
  CHECK(child.esp_proposals.at(0).encr == Encr::ChaCha20Poly1305);
  CHECK(child.esp_proposals.at(0).pfs == DhGroup::Curve25519);
  CHECK(child.esp_proposals.at(1).integ == Integ::AesCmac96);
  CHECK(child.ah_proposals.at(0).integ == Integ::AesCmac96);
  CHECK(findings(with("version: 2", "version: 1", with("[aes128gcm16]", "[chacha20poly1305]"))).size() == 1);
  const auto slip = findings(with("[aes128gcm16]", "[chacha20poly130]"));
  REQUIRE(slip.size() == 1);
  CHECK(slip[0].ends_with("did you mean 'chacha20poly1305'?"));
}

TEST_CASE("what is wrong with a proposal of IKEv2 is said", "[config][version]") {
  const auto one = [](const std::string& proposal) {
    const auto found = findings(with("[aes256-sha256-modp2048]", "[" + proposal + "]"));
    REQUIRE(found.size() == 1);
    return found[0];
  };
  const std::string place =
      ":12:17: connections.b.proposals[0]: expected a proposal such as aes256-sha256-modp2048 or aes128gcm16-prfsha256-ecp256, got '";
  CHECK(one("aes128gcm16-ecp256") ==
        place + "aes128gcm16-ecp256': 'aes128gcm16-ecp256' names no pseudo-random function such as prfsha256, which 'aes128gcm16' needs");
  CHECK(one("aes128gcm16-aes128-sha256-ecp256") ==
        place +
            "aes128gcm16-aes128-sha256-ecp256': 'aes128gcm16' authenticates by itself and 'aes128' does not: write them as two proposals");
  CHECK(one("aes256-sha256-prfsha265-ecp256").ends_with("did you mean 'prfsha256'?"));
}

TEST_CASE("weak algorithms of IKEv2 are named as those of IKEv1", "[config][version]") {
  const auto weak = [](const std::string& proposal, const std::string& allow = "") {
    return findings(with("[aes256-sha256-modp2048]", "[" + proposal + "]" + (allow.empty() ? "" : "\n    allow_weak: [" + allow + "]")));
  };
  const std::string refused = " does not; for a peer that has nothing better, name it in allow_weak of this connection";
  CHECK(weak("aes128-md5-modp2048") == Rows{":12:16: connections.b.proposals: expected algorithms that still protect, but md5" + refused});
  CHECK(weak("aes128-sha256-prfmd5-modp2048").size() == 1);
  CHECK(weak("aes128gcm16-prfmd5-modp2048").size() == 1);
  CHECK(weak("aes128gcm8-prfsha256-modp2048").size() == 1);
  CHECK(weak("3des-md5-modp1024").size() == 3);
  CHECK(weak("aes128-md5-modp2048", "md5") == Rows{":12:16: warning: connections.b.proposals: md5 is weak and is used for this peer only; "
                                                   "whoever records the traffic may read it one day"});
  for (const char* sha1 :
       {"aes128-sha1-ecp256", "aes128-sha1-prfsha256-ecp256", "aes128-sha256-prfsha1-ecp256", "aes128gcm16-prfsha1-ecp256"}) {
    const auto found = weak(sha1);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("uses SHA-1") != std::string::npos);
  }
}

TEST_CASE("keys of IKEv1 are refused, even with their defaults", "[config][version]") {
  const std::string no = ": expected no such key with version: 2: ";
  CHECK(findings(beside("aggressive: false")) == Rows{":16:17: connections.b.aggressive" + no + "Aggressive Mode is of IKEv1"});
  CHECK(findings(beside("aggressive: true")) == Rows{":16:17: connections.b.aggressive" + no + "Aggressive Mode is of IKEv1"});
  CHECK(findings(beside("aggressive_psk_exposes_hash_to_offline_guessing: true")) ==
        Rows{":16:54: connections.b.aggressive_psk_exposes_hash_to_offline_guessing" + no + "Aggressive Mode is of IKEv1"});
  for (const char* word : {"pull", "push"})
    CHECK(findings(beside("mode_config: " + std::string(word))) ==
          Rows{":16:18: connections.b.mode_config" + no + "Mode Config is of IKEv1"});
  CHECK(findings(beside("dpd_timeout: 150s")) ==
        Rows{":16:18: connections.b.dpd_timeout" + no +
             "a request that is not answered after all retransmissions shows that the peer is dead"});
  CHECK(findings(with("id: gw-a.example", "id: gw-a.example, xauth: {user: a, password: file:/a}")) ==
        Rows{":13:38: connections.b.local.xauth" + no + "XAuth is of IKEv1"});
  CHECK(findings(with("id: gw-b.example", "id: gw-b.example, xauth: {users: file:/a}")) ==
        Rows{":14:39: connections.b.remote.xauth" + no + "XAuth is of IKEv1"});
  CHECK(findings(with("id: gw-b.example", "id: gw-b.example, auth: xauth")) ==
        Rows{":14:38: connections.b.remote.auth: expected psk, pubkey or EAP, got xauth: XAuth is of IKEv1"});
  CHECK(findings(with("id: gw-a.example", "id: gw-a.example, auth: xauth")) ==
        Rows{":13:37: connections.b.local.auth: expected psk, pubkey or EAP, got xauth: XAuth is of IKEv1"});
  CHECK(findings(beside("aggressive: maybe")).size() == 1);
}

TEST_CASE("what IKEv2 alone has, or IKEv1 alone, is refused with the other one", "[config][version]") {
  for (const char* word : {"keep", "never", "replace", "no"}) CHECK(findings(beside("unique: " + std::string(word))).empty());
  CHECK(connection(beside("unique: no")).unique == Unique::No);
  CHECK(findings(with("version: 2", "version: 1", beside("unique: no"))) ==
        Rows{":16:13: connections.b.unique: expected replace, keep or never with version: 1, got no"});
  CHECK(findings(beside("unique: nope")) ==
        Rows{":16:13: connections.b.unique: expected replace, keep, never or no, got 'nope'; did you mean 'no'?"});
  CHECK(
      findings(beside("fragmentation: force")) ==
      Rows{":16:20: connections.b.fragmentation: expected no, accept or yes, got force: with version: 2 fragments are sent only where both "
           "sides have agreed on them (RFC 7383)"});
  for (const char* line : {"unique: replace", "fragmentation: yes", "fragmentation: no", "fragmentation: accept", "vips: 0.0.0.0",
                           "pools: clients", "pools: []", "encap: true", "dpd_delay: 10s"})
    CHECK(findings(beside(line)).empty());
  CHECK(findings(with("    secret: file:/run/x/psk\n", "")) ==
        Rows{":10:5: connections.b.secret: the key is missing: expected file:/absolute/path or env:NAME"});
}

TEST_CASE("virtual addresses of IPv6 are for version: 2", "[config][version][pools]") {
  const auto pools = [](const std::string& all, const std::string& text) {
    return with("pools: {clients: {addrs: 10.3.0.0/24}}", "pools: {" + all + "}", text);
  };
  const std::string six =
      "six: {addrs: '2001:db8:3::/112', dns: ['2001:db8:1::53', 10.1.0.53], split_include: ['2001:db8:1::/48', 10.1.0.0/24]}";
  const auto children = [](const std::string& text, const std::string& local, const std::string& remote) {
    return with("local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24", "local_ts: " + local + ", remote_ts: " + remote, text);
  };
  const std::string both = "[10.1.0.0/24, '2001:db8:1::/48']";
  const std::string served = children(pools("clients: {addrs: 10.3.0.0/24}, " + six, beside("pools: [clients, six]")), both, "dynamic");
  CHECK(findings(served).empty());
  const auto loaded = load_text(served, "");
  REQUIRE(loaded);
  const Pool& pool = loaded->config.pools.at(1);
  CHECK((pool.addrs.first == IpAddress::parse("2001:db8:3::1").value() && pool.addrs.last == IpAddress::parse("2001:db8:3::fffe").value()));
  const auto& served_children = loaded->config.connections.at(0).children;
  REQUIRE(served_children.size() == 1);
  const auto remotes = served_children[0].remotes();
  REQUIRE(remotes.size() == 2);
  CHECK((remotes[0].ts.first.family == Family::V4 && remotes[1].ts.first.family == Family::V6));
  CHECK(findings(children(beside("vips: [0.0.0.0, '::']"), "dynamic", "[10.2.0.0/24, '2001:db8:2::/48']")).empty());
  CHECK(findings(children(beside("vips: '2001:db8:3::7'"), "dynamic", "'2001:db8:2::/48'")).empty());

  CHECK(findings(with("version: 2", "version: 1", served)) ==
        Rows{":16:12: connections.b.pools: expected pools of IPv4 alone with version: 1, but 'six' has IPv6 addresses"});
  CHECK(
      findings(children(beside("pools: clients"), both, "dynamic")) ==
      Rows{
          ":19:23: connections.b.children.net.local_ts: expected an address family that a pool of the connection has, too: remote_ts is an "
          "address of a pool"});
  CHECK(
      findings(children(beside("vips: 0.0.0.0"), "dynamic", "'2001:db8:2::/48'")) ==
      Rows{":19:43: connections.b.children.net.remote_ts: expected an address family that vips of the connection has, too: local_ts is one "
           "of these addresses"});
  CHECK(findings(beside("vips: [10.3.0.1, 10.3.0.2]")) == Rows{":16:11: connections.b.vips: expected at most one address of each family"});
  CHECK(findings(with("version: 2", "version: 1", beside("vips: '::'"))) ==
        Rows{":16:11: connections.b.vips: expected an IPv4 address with version: 1"});
  for (const char* addrs : {"'2001:db8:3::/64'", "'2001:db8:3::/111'", "'2001:db8:3::-2001:db8:3::1:0'", "'::/0'", "0.0.0.0/0"})
    CHECK(findings(pools("clients: {addrs: " + std::string(addrs) + "}", kBase)).size() == 1);
  for (const char* addrs : {"'2001:db8:3::7'", "'2001:db8:3::/127'", "'2001:db8:3::-2001:db8:3::ffff'", "10.3.0.0/16"})
    CHECK(findings(pools("clients: {addrs: " + std::string(addrs) + "}", kBase)).empty());
}

TEST_CASE("MOBIKE is of IKEv2 and of tunnel mode, and there by default", "[config][version][mobike][rfc4555-1.2]") {
  CHECK(connection(kBase).mobike);
  CHECK_FALSE(connection(beside("mobike: false")).mobike);
  CHECK(findings(beside("mobike: true")).empty());
  const std::string selectors = "local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24",
                    between = "local_ts: 10.9.0.1, remote_ts: 10.9.0.2, mode: transport";
  CHECK_FALSE(connection(with(selectors, between)).mobike);
  CHECK(findings(with(selectors, between, beside("mobike: false"))).empty());
  CHECK(findings(with(selectors, between, beside("mobike: true"))) ==
        Rows{":16:13: connections.b.mobike: expected false with a child of mode: transport, whose packets are between the addresses "
             "themselves (RFC 4555)"});
  const std::string first = with("version: 2", "version: 1");
  CHECK_FALSE(connection(first).mobike);
  CHECK(findings(with("version: 1", "version: 1\n    mobike: false", first)).empty());
  CHECK(findings(with("version: 1", "version: 1\n    mobike: true", first)) ==
        Rows{":17:13: connections.b.mobike: expected no such key with version: 1: MOBIKE is of IKEv2"});
}

TEST_CASE("counters may be set right unless the configuration says no; of IKEv2", "[config][version][sync][rfc6311-4]") {
  CHECK(connection(kBase).counter_sync.enabled);
  CHECK_FALSE(connection(beside("counter_sync: no")).counter_sync.enabled);
  CHECK(findings(beside("counter_sync: yes")).empty());
  CHECK(findings(beside("counter_sync: perhaps")).size() == 1);
  CHECK(findings(with("version: 1", "version: 1\n    counter_sync: no", with("version: 2", "version: 1"))) ==
        Rows{":17:19: connections.b.counter_sync: expected no such key with version: 1: it is of IKEv2 (RFC 6311)"});
}

TEST_CASE("the peer's requests come one at a time unless the configuration says more; of IKEv2", "[config][version][window][rfc7296-2.3]") {
  CHECK(connection(kBase).window.size == 1);
  CHECK(connection(beside("window: 5")).window.size == 5);
  CHECK(connection(beside("window: 32")).window.size == 32);
  for (const char* wrong : {"0", "33", "-1", "five", "[5]"}) CHECK(findings(beside("window: " + std::string(wrong))).size() == 1);
  const std::string first = with("version: 2", "version: 1");
  CHECK(findings(with("version: 1", "version: 1\n    window: 1", first)).empty());
  CHECK(findings(with("version: 1", "version: 1\n    window: 5", first)) ==
        Rows{":17:13: connections.b.window: expected no such key with version: 1: windows are of IKEv2 (RFC 7296 section 2.3)"});
}

TEST_CASE("each side of IKEv2 proves itself in its own way", "[config][version][rfc7296-2.15]") {
  const std::string own = "id: gw-a.example, auth: pubkey, certs: /a.pem, key: file:/a.key";
  const std::string peer = "id: gw-b.example, auth: pubkey, cacerts: /ca.pem";
  const std::string local = with("id: gw-a.example", own), remote = with("id: gw-b.example", peer);
  const std::string both = with("id: gw-b.example", peer, local);
  CHECK(findings(local).empty());
  CHECK(findings(remote).empty());
  CHECK(connection(local).local_auth.auth == Proof::Pubkey);
  CHECK(connection(local).remote_auth.auth == Proof::Psk);
  CHECK(connection(remote).remote_auth.auth == Proof::Pubkey);
  const std::string secret = "    secret: file:/run/x/psk\n";
  const Rows missing{":10:5: connections.b.secret: the key is missing: expected file:/absolute/path or env:NAME"};
  CHECK(findings(with(secret, "", local)) == missing);
  CHECK(findings(with(secret, "", remote)) == missing);
  CHECK(findings(with(secret, "", both)).empty());
  CHECK(findings(both) == Rows{":15:13: warning: connections.b.secret: no pre-shared key is used, since neither side's auth is psk"});
  CHECK(findings(with("id: gw-a.example", "id: gw-a.example, auth: pubkey")).size() == 2);  // certs, key
  CHECK(findings(with("id: gw-b.example", "id: gw-b.example, auth: pubkey")).size() == 1);  // cacerts
  for (const char* key : {"certs: /a.pem", "key: file:/a.key"})
    CHECK(findings(with("id: gw-a.example", "id: gw-a.example, " + std::string(key))).size() == 1);
}

TEST_CASE("many peers, other modes and other secrets are fine with IKEv2", "[config][version]") {
  CHECK(findings(with("remote_addrs: 10.9.0.2", "remote_addrs: '%any'")).empty());
  CHECK(findings(with("remote_addrs: 10.9.0.2", "remote_addrs: [10.9.0.2, 10.9.0.64/26]")).empty());
  CHECK(
      findings(with("local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24", "local_ts: 10.9.0.1, remote_ts: 10.9.0.2, mode: transport")).empty());
  // The identity says which secret, so that there may be any number of them for the same addresses (RFC 7296 §2.15).
  std::string text = kBase;
  for (int n = 1; n <= 20; ++n) {
    const std::string i = std::to_string(n);
    text += "  p" + i +
            ":\n    version: 2\n    local_addrs: 10.9.0.1\n    remote_addrs: 10.9.0.2\n    proposals: [aes256-sha256-modp2048]\n"
            "    remote: {id: p" +
            i + ".example}\n    secret: file:/run/x/" + i +
            "\n    children:\n"
            "      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2." +
            i + ".0/24, esp_proposals: [aes128gcm16]}\n";
  }
  CHECK(findings(text).empty());
}

TEST_CASE("what is signed with may be said, in swanctl's words", "[config][version][rfc7427][rfc8420]") {
  using enum SignatureWish::Key;
  using enum SignatureWish::Hash;
  const auto local = [](const std::string& auth) {
    return with("id: gw-a.example", "id: gw-a.example, certs: /a.pem, key: file:/a.key, auth: " + auth);
  };
  const auto remote = [](const std::string& auth) { return with("id: gw-b.example", "id: gw-b.example, cacerts: /ca.pem, auth: " + auth); };
  struct Row {
    std::string text;
    SignatureWish wish;
  };
  for (const Row& row :
       {Row{"rsa", {Rsa, {}}}, Row{"rsa/pss", {RsaPss, {}}}, Row{"rsa/pss-sha384", {RsaPss, {Sha384}}},
        Row{"rsa-sha512-sha256", {Rsa, {Sha512, Sha256}}}, Row{"ecdsa-sha384", {Ecdsa, {Sha384}}}, Row{"ed25519", {Ed25519, {}}},
        Row{"ed448", {Ed448, {}}}, Row{"pubkey-sha256", {Any, {Sha256}}}, Row{"pubkey", {}}}) {
    INFO(row.text);
    for (const auto& auth : {connection(local(row.text)).local_auth.auth, connection(local("ike:" + row.text)).local_auth.auth,
                             connection(remote("ike:" + row.text)).remote_auth.auth}) {
      CHECK((auth == Proof::Pubkey));
      CHECK((auth.signature == row.wish));
    }
    const auto bare = findings(remote(row.text));  // of the peer it would mean its certificates, too
    if (row.text == "pubkey") {
      CHECK(bare.empty());
    } else {
      REQUIRE(bare.size() == 1);
      CHECK(bare[0].find("connections.b.remote.auth: expected ike:" + row.text + ", got '" + row.text + "'") != std::string::npos);
      CHECK(bare[0].ends_with("did you mean 'ike:" + row.text + "'?"));
    }
    if (row.wish == SignatureWish{}) continue;
    const std::string version_1 = with("version: 2", "version: 1", local(row.text));
    const auto old = findings(version_1);
    REQUIRE_FALSE(old.empty());
    CHECK(old[0].find("connections.b.local.auth: expected psk, pubkey or xauth: with version: 1") != std::string::npos);
  }
  for (const char* bad : {"rsa/pss-", "rsa/pss-sha1", "rsa-sha256-sha256", "ed25519-sha512", "rsa/pkcs1", "RSA", "ecdsa-384", "dsa",
                          "ike:psk", "rsa/pss-sha256-ecdsa"}) {
    INFO(bad);
    const auto found = findings(local(bad));
    REQUIRE_FALSE(found.empty());
    CHECK(found[0].find("connections.b.local.auth: expected psk, pubkey, xauth, eap-mschapv2, eap-md5 or eap-tls") != std::string::npos);
  }
}

TEST_CASE("a post-quantum pre-shared key has a name and a place, and is of IKEv2", "[config][version][rfc8784]") {
  const std::string keys = "ppk_id: ours\n    ppk: file:/run/x/ppk";
  const Connection c = connection(beside(keys));
  CHECK(c.ppk.id == "ours");
  CHECK(c.ppk.secret.where == "/run/x/ppk");
  CHECK_FALSE(c.ppk.required);
  CHECK(connection(beside(keys + "\n    ppk_required: true")).ppk.required);
  CHECK(connection(kBase).ppk.id.empty());
  CHECK(findings(beside(keys)).empty());
  const auto one = [](const std::string& text) {
    const auto found = findings(text);
    REQUIRE(found.size() == 1);
    return found[0];
  };
  CHECK(one(beside("ppk_id: ours")).find("connections.b.ppk: the key is missing beside ppk_id") != std::string::npos);
  CHECK(one(beside("ppk: file:/run/x/ppk")).find("connections.b.ppk_id: the key is missing beside ppk") != std::string::npos);
  CHECK(one(beside("ppk_required: true")).find("connections.b.ppk_id: the key is missing beside ppk_required") != std::string::npos);
  CHECK(one(beside("ppk_id: ours\n    ppk: file:/run/x/psk")).find("connections.b.ppk: expected another place than that of secret") !=
        std::string::npos);
  CHECK(one(beside("ppk_id: ours\n    ppk: geheim")).find("geheim") == std::string::npos);
  CHECK(one(beside(keys + "\n    ppk_requird: true")).ends_with("did you mean 'ppk_required'?"));
  CHECK(findings(with("version: 2", "version: 1", beside(keys))).size() == 2);
  CHECK(findings(with("version: 2", "version: 1", beside(keys)))[0].find(
            "expected no such key with version: 1: post-quantum pre-shared keys are of IKEv2 (RFC 8784)") != std::string::npos);
}
