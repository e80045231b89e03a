// What a broken file is told, row by row: one change to a good file, and all findings that it must give, with line and column. Longer than
// 400 lines, for it is one table.
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/config/load.hpp"

using namespace culvert::config;

namespace {

const std::string kBase = R"(dataplane:
  workers: [0, 1]
  memory: {hugepages: false, size: 256MB, mbufs: 8192}
ports:
  wan: {device: "net_af_packet0,iface=gw0", addresses: [10.9.0.1/24]}
  lan: {device: "net_af_packet1,iface=in0", addresses: [10.1.0.1/24]}
routes:
  - {to: 10.2.0.0/24, via: 10.9.0.2}
connections:
  site-b:
    local_addrs: 10.9.0.1
    remote_addrs: [10.9.0.2]
    proposals: [aes256-sha256-modp2048]
    local: {id: gw-a.example}
    remote: {id: gw-b.example}
    secret: file:/run/x/psk
    children:
      net:
        local_ts: 10.1.0.0/24
        remote_ts: 10.2.0.0/24
        esp_proposals: [aes128gcm16]
        start_action: start
)";
const std::string kChildren = kBase.substr(kBase.find("      net:"));

struct Row {
  std::string what, find, replace;
  std::vector<std::string> expected;  ///< without the file's name
};

// clang-format off
const std::vector<Row>& rows() {
  static const std::vector<Row> all{
      {"unknown key, near a known one", "remote_ts:", "remote_tss:",
       {":20:9: connections.site-b.children.net.remote_tss: unknown key; did you mean 'remote_ts'?"}},
      {"unknown key, near none", "  workers:", "  banana: 1\n  workers:",
       {":2:3: dataplane.banana: unknown key; known here are socket, workers, main_cpu, idle, sa_capacity, control_user, memory, eal_args"}},
      {"unknown section", "routes:", "route:",
       {":7:1: route: unknown key; did you mean 'routes'?"}},
      {"beginning of a key", "memory:", "mem:",
       {":3:3: dataplane.mem: unknown key; did you mean 'memory'?"}},
      {"unknown word", "start_action: start", "start_action: strat",
       {":22:23: connections.site-b.children.net.start_action: expected none, start or trap, got 'strat'; did you mean 'start'?"}},
      {"a list where a word belongs", "start_action: start", "start_action: [start]",
       {":22:23: connections.site-b.children.net.start_action: expected none, start or trap, got a list"}},
      {"nothing where a word belongs", "start_action: start", "start_action:",
       {":22:9: connections.site-b.children.net.start_action: expected none, start or trap, got nothing"}},
      {"a map where a list belongs", "workers: [0, 1]", "workers: {a: 1}",
       {":2:12: dataplane.workers: expected a CPU from 0 to 1023, or a list of up to 64, got a map"}},
      {"a text where a map belongs", "memory: {hugepages: false, size: 256MB, mbufs: 8192}", "memory: 256MB",
       {":3:11: dataplane.memory: expected a map, got '256MB'"}},
      {"a list where a map belongs", "local: {id: gw-a.example}", "local: [gw-a.example]",
       {":14:12: connections.site-b.local: expected a map, got a list"}},
      {"a map where a list of maps belongs", "  - {to: 10.2.0.0/24, via: 10.9.0.2}", "  {to: 10.2.0.0/24, via: 10.9.0.2}",
       {":8:3: routes: expected a list of maps, got a map"}},
      {"a pool that is none", "    secret: file", "    pools: [office]\n    secret: file",
       {":16:12: connections.site-b.pools: expected the name of a pool of the section pools, got 'office'"}},
      {"a pool that is too large", "routes:", "pools: {a: {addrs: 10.0.0.0/8}}\nroutes:",
       {":7:20: pools.a.addrs: expected a network such as 10.3.0.0/24 or 2001:db8:3::/112, or a range such as 10.3.0.10-10.3.0.99, of at most 65536 addresses, got "
        "'10.0.0.0/8'"}},
      {"two pools that share addresses", "routes:", "pools: {a: {addrs: 10.3.0.0/24}, b: {addrs: 10.3.0.9-10.3.1.9}}\nroutes:",
       {":7:45: pools.b.addrs: expected addresses that no other pool has; pool 'a' has some of them"}},
      {"asked for a user from both ends", "    local: {id: gw-a.example}\n    remote: {id: gw-b.example}",
       "    local: {id: gw-a.example, xauth: {user: a, password: file:/a}}\n    remote: {id: gw-b.example, xauth: {users: file:/b}}",
       {":15:39: connections.site-b.remote.xauth: expected either local.xauth or remote.xauth: one side asks, the other one answers"}},
      {"a user without a password", "local: {id: gw-a.example}", "local: {id: gw-a.example, xauth: {user: a}}",
       {":14:38: connections.site-b.local.xauth: expected a password beside user"}},
      {"users in the environment", "remote: {id: gw-b.example}", "remote: {id: gw-b.example, xauth: {users: env:USERS}}",
       {":15:47: connections.site-b.remote.xauth.users: expected file:/absolute/path: users are kept in a file"}},
      {"gives addresses and asks for one", "    secret: file", "    pools: [a]\n    vips: 0.0.0.0\n    secret: file",
       {":16:12: connections.site-b.pools: expected the name of a pool of the section pools, got 'a'",
        ":17:11: connections.site-b.vips: expected either pools or vips: one side gives addresses, the other one asks"}},
      {"duplicate key", "    secret: file:/run/x/psk\n", "    secret: file:/run/x/psk\n    secret: file:/run/y/psk\n",
       {":17:5: connections.site-b.secret: the key occurs a second time; first in line 16"}},
      {"duplicate name", "  lan: {", "  wan: {",
       {":6:3: ports.wan: the key occurs a second time; first in line 5"}},
      {"required key missing", "        esp_proposals: [aes128gcm16]\n", "",
       {":19:9: connections.site-b.children.net.esp_proposals: the key is missing: expected a proposal such as aes128gcm16 or aes256-sha256-ecp256, or a list of up to 32, the preferred one first"}},
      {"several required keys missing", "    proposals: [aes256-sha256-modp2048]\n    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n    secret: file:/run/x/psk\n", "",
       {":11:5: connections.site-b.proposals: the key is missing: expected a proposal such as aes256-sha256-modp2048, or a list of up to 32, the preferred one first",
        ":11:5: connections.site-b.secret: the key is missing: expected file:/absolute/path or env:NAME"}},
      {"number without unit for a size", "size: 256MB", "size: 256",
       {":3:36: dataplane.memory.size: expected a size in whole megabytes from 64MB to 1TB, got '256': the unit is missing (B, KB, MB, GB, TB); did you mean '256MB'?"}},
      {"unit in the wrong case", "size: 256MB", "size: 256mb",
       {":3:36: dataplane.memory.size: expected a size in whole megabytes from 64MB to 1TB, got '256mb': unknown unit; did you mean '256MB'?"}},
      {"time without unit", "    secret:", "    rekey_time: 3600\n    secret:",
       {":16:17: connections.site-b.rekey_time: expected a time from 1s to 30d, got '3600': the unit is missing (ms, s, m, h, d); did you mean '3600s'?"}},
      {"unknown unit of time", "    secret:", "    rekey_time: 3w\n    secret:",
       {":16:17: connections.site-b.rekey_time: expected a time from 1s to 30d, got '3w': unknown unit (known are ms, s, m, h, d)"}},
      {"time out of range", "    secret:", "    rekey_time: 90d\n    secret:",
       {":16:17: connections.site-b.rekey_time: expected a time from 1s to 30d, got '90d'"}},
      {"time in parts of a second", "    secret:", "    rekey_time: 1500ms\n    secret:",
       {":16:17: connections.site-b.rekey_time: expected a time from 1s to 30d, got '1500ms'"}},
      {"time that overflows", "    secret:", "    rekey_time: 99999999999999999d\n    secret:",
       {":16:17: connections.site-b.rekey_time: expected a time from 1s to 30d, got '99999999999999999d': the number is too large"}},
      {"boolean in another word", "hugepages: false", "hugepages: no",
       {":3:23: dataplane.memory.hugepages: expected true or false, got 'no'; did you mean 'false'?"}},
      {"number out of range", "        start_action: start", "        priority: 0",
       {":22:19: connections.site-b.children.net.priority: expected a number from 1 to 1000000, got '0'"}},
      {"number with leading zero", "mbufs: 8192", "mbufs: 08192",
       {":3:50: dataplane.memory.mbufs: expected a number from 1024 to 16777216, got '08192'"}},
      {"negative number", "mbufs: 8192", "mbufs: -1",
       {":3:50: dataplane.memory.mbufs: expected a number from 1024 to 16777216, got '-1'"}},
      {"number that overflows", "mbufs: 8192", "mbufs: 99999999999999999999999",
       {":3:50: dataplane.memory.mbufs: expected a number from 1024 to 16777216, got '99999999999999999999999'"}},
      {"no power of two", "  workers:", "  sa_capacity: 1000\n  workers:",
       {":2:16: dataplane.sa_capacity: expected a power of two from 64 to 1048576, got '1000'"}},
      {"replay window too small", "        start_action: start", "        replay_window: 16",
       {":22:24: connections.site-b.children.net.replay_window: expected a power of two from 32 to 8192, got '16'"}},
      {"kernel interface as device", "\"net_af_packet0,iface=gw0\"", "gw0",
       {":5:17: ports.wan.device: expected a PCI address such as 0000:17:00.0 or a DPDK virtual device such as net_af_packet0,iface=eth1, got 'gw0'; did you mean 'net_af_packet0,iface=gw0'?"}},
      {"link-local address of a port", "[10.9.0.1/24]", "[10.9.0.1/24, fe80::1/64]",
       {":5:70: ports.wan.addresses[1]: expected an address of a host: fe80::1 is link-local, which each port with IPv6 has of itself, got 'fe80::1/64'"}},
      {"subnet-router anycast", "[10.9.0.1/24]", "[10.9.0.1/24, \"2001:db8::/64\"]",
       {":5:70: ports.wan.addresses[1]: expected an address of a host: 2001:db8:: is the subnet-router anycast address of 2001:db8::/64, got '2001:db8::/64'"}},
      {"IPv6 on too small a port", "[10.9.0.1/24]", "[10.9.0.1/24, 2001:db8::1/64], mtu: 1200",
       {":5:92: ports.wan.mtu: expected at least 1280 beside an IPv6 address (RFC 8200 section 5), got 1200"}},
      {"a next hop of another family", "{to: 10.2.0.0/24, via: 10.9.0.2}", "{to: 2001:db8:2::/48, via: 10.9.0.2}",
       {":8:32: routes[0].via: expected the address family of to"}},
      {"a link-local next hop without its port", "{to: 10.2.0.0/24, via: 10.9.0.2}", "{to: 10.2.0.0/24, via: 10.9.0.2}\n  - {to: 2001:db8:2::/48, via: fe80::2}",
       {":9:32: routes[1].via: expected port beside it: a link-local address is of one link"}},
      {"a peer of a family that we do not have", "remote_addrs: [10.9.0.2]", "remote_addrs: [10.9.0.2, 2001:db8::2]",
       {":12:30: connections.site-b.remote_addrs[1]: expected an address of a family that local_addrs has, too"}},
      {"address without prefix length", "[10.1.0.1/24]", "[10.1.0.1]",
       {":6:57: ports.lan.addresses[0]: expected an IP address with its prefix length such as 10.9.0.1/24 or 2001:db8::1/64, got '10.1.0.1': the prefix length is missing"}},
      {"network address as a port's", "[10.1.0.1/24]", "[10.1.0.0/24]",
       {":6:57: ports.lan.addresses[0]: expected an address of a host: 10.1.0.0 is the network address of 10.1.0.0/24, got '10.1.0.0/24'"}},
      {"broadcast address as a port's", "[10.1.0.1/24]", "[10.1.0.255/24]",
       {":6:57: ports.lan.addresses[0]: expected an address of a host: 10.1.0.255 is the broadcast address of 10.1.0.0/24, got '10.1.0.255/24'"}},
      {"mtu too small", "addresses: [10.1.0.1/24]", "addresses: [10.1.0.1/24], mtu: 500",
       {":6:76: ports.lan.mtu: expected bytes from 576 to 9000, got '500'"}},
      {"route with host bits", "to: 10.2.0.0/24", "to: 10.2.0.1/24",
       {":8:10: routes[0].to: expected a network such as 10.2.0.0/24 or 2001:db8:2::/48 without host bits, got '10.2.0.1/24'; did you mean '10.2.0.0/24'?"}},
      {"proposal without a group", "[aes256-sha256-modp2048]", "[aes256-sha256]",
       {":13:17: connections.site-b.proposals[0]: expected a proposal such as aes256-sha256-modp2048, got 'aes256-sha256': 'aes256-sha256' names no Diffie-Hellman group"}},
      {"proposal with an unknown word", "[aes256-sha256-modp2048]", "[aes256-sha256-modp2048, aes256-sha255-modp2048]",
       {":13:41: connections.site-b.proposals[1]: expected a proposal such as aes256-sha256-modp2048, got 'aes256-sha255-modp2048': 'sha255' is no algorithm for IKE here; known are aes128, aes192, aes256, sha1, sha256, sha384, sha512, modp2048, modp3072, modp4096, modp6144, modp8192, ecp256, ecp384, ecp521, curve25519, ecp192, ecp224, curve448, ecp256bp, ecp384bp, ecp512bp, ecp224bp, and with allow_weak 3des, des, md5, modp1536, modp1024, modp768, modp1024s160, modp2048s224, modp2048s256; did you mean 'sha256'?"}},
      {"AEAD with an integrity algorithm", "[aes128gcm16]", "[aes128gcm16-sha256]",
       {":21:25: connections.site-b.children.net.esp_proposals[0]: expected a proposal such as aes128gcm16 or aes256-sha256-ecp256, got 'aes128gcm16-sha256': 'aes128gcm16' authenticates by itself: no integrity algorithm may go with it"}},
      {"empty list of proposals", "[aes128gcm16]", "[]",
       {":21:24: connections.site-b.children.net.esp_proposals: expected 1 to 32 entries, got 0"}},
      {"a selector twice", "remote_ts: 10.2.0.0/24", "remote_ts: [10.2.0.0/24, 10.2.0.0/24]",
       {":20:20: connections.site-b.children.net.remote_ts: the child 'site-b/net/1x1' has the same selectors: this one would never carry a packet"}},
      {"selector with an unknown protocol", "remote_ts: 10.2.0.0/24", "remote_ts: 10.2.0.0/24[tpc]",
       {":20:20: connections.site-b.children.net.remote_ts: expected a traffic selector such as 10.1.0.0/24, 10.1.0.5[tcp/443] or 10.1.0.1-10.1.0.9, got '10.2.0.0/24[tpc]': 'tpc' is no protocol: a name such as tcp, udp, icmp or a number to 255"}},
      {"selectors of two families", "remote_ts: 10.2.0.0/24", "remote_ts: 2001:db8::/64",
       {":20:20: connections.site-b.children.net.remote_ts: expected the address family of local_ts"}},
      {"an IPv6 selector beside the peer's IPv4 address", "local_ts: 10.1.0.0/24\n        remote_ts: 10.2.0.0/24", "local_ts: 2001:db8:1::/48\n        remote_ts: dynamic",
       {":20:20: connections.site-b.children.net.remote_ts: expected the address family of local_ts"}},
      {"inline secret is not repeated", "secret: file:/run/x/psk", "secret: hunter2",
       {":16:13: connections.site-b.secret: expected file:/absolute/path or env:NAME; a secret itself may not stand in this file, which is read by both planes and is easily copied: put it into a file of mode 0600"}},
      {"relative secret file", "secret: file:/run/x/psk", "secret: file:psk",
       {":16:13: connections.site-b.secret: expected file:/absolute/path or env:NAME: the path behind file: must be absolute"}},
      {"secret as a list is not repeated", "secret: file:/run/x/psk", "secret: [hunter2]",
       {":16:13: connections.site-b.secret: expected file:/absolute/path or env:NAME"}},
      {"bad name of a variable", "secret: file:/run/x/psk", "secret: env:A-B",
       {":16:13: connections.site-b.secret: expected file:/absolute/path or env:NAME: no name of an environment variable follows env:"}},
      {"transport mode for networks behind the gateways", "        start_action: start", "        mode: transport",
       {":19:19: connections.site-b.children.net.local_ts: expected one of local_addrs: mode transport is for traffic of this gateway itself",
        ":20:20: connections.site-b.children.net.remote_ts: expected one of remote_addrs: mode transport is for traffic of the peer itself"}},
      {"no proposal at all", "        esp_proposals: [aes128gcm16]\n", "        ah_proposals: []\n",
       {":19:9: connections.site-b.children.net.esp_proposals: expected at least one proposal here or in ah_proposals"}},
      {"a cipher in an AH proposal", "        start_action: start", "        ah_proposals: aes128-sha256",
       {":22:23: connections.site-b.children.net.ah_proposals: expected a proposal such as sha256 or sha256-ecp256, got 'aes128-sha256': 'aes128' is no algorithm for AH here; known are sha1, sha256, sha384, sha512, aesxcbc, aes128gmac, aes192gmac, aes256gmac, modp2048, modp3072, modp4096, modp6144, modp8192, ecp256, ecp384, ecp521, curve25519, ecp192, ecp224, curve448, ecp256bp, ecp384bp, ecp512bp, ecp224bp, esn, noesn, and with allow_weak md5, modp1536, modp1024, modp768, modp1024s160, modp2048s224, modp2048s256"}},
      {"a short check value without leave", "esp_proposals: [aes128gcm16]", "esp_proposals: [aes128gcm8]",
       {":21:24: connections.site-b.children.net.esp_proposals: expected algorithms that still protect, but aes128gcm8 does not; for a peer that has nothing better, name it in allow_weak of this connection"}},
      {"a cipher that IKEv1 has no number for", "[aes128gcm16]", "[aes128gcm16, chacha20poly1305]",
       {":21:38: connections.site-b.children.net.esp_proposals[1]: expected a proposal such as aes128gcm16 or aes256-sha256-ecp256, got 'chacha20poly1305': 'chacha20poly1305' is for IKEv2 only (version: 2): IKEv1 has no number for it"}},
      {"an integrity algorithm of AH that IKEv1 has no number for", "        start_action: start", "        ah_proposals: aescmac",
       {":22:23: connections.site-b.children.net.ah_proposals: expected a proposal such as sha256 or sha256-ecp256, got 'aescmac': 'aescmac' is for IKEv2 only (version: 2): IKEv1 has no number for it"}},
      {"no window at all [attack-C4]", "        start_action: start", "        replay_window: 0",
       {":22:24: connections.site-b.children.net.replay_window: expected a power of two from 32 to 8192, got '0'"}},
      {"misspelled mode", "        start_action: start", "        mode: tunel",
       {":22:15: connections.site-b.children.net.mode: expected tunnel or transport, got 'tunel'; did you mean 'tunnel'?"}},
      {"own identity %any", "id: gw-a.example", "id: \"%any\"",
       {":14:17: connections.site-b.local.id: expected an identity of our own, got '%any'"}},
      {"strongSwan's @name", "id: gw-a.example", "id: \"@gw-a.example\"",
       {":14:17: connections.site-b.local.id: expected an identity: an IP address, a host name (FQDN), user@domain, a distinguished name such as \"C=CH, O=Example, CN=gw\", keyid:name, or %any, got '@gw-a.example'; did you mean 'gw-a.example'?"}},
      {"a name with an unknown attribute", "id: gw-a.example", "id: \"C=CH, Q=x\"",
       {":14:17: connections.site-b.local.id: expected a distinguished name such as C=CH, O=Example, CN=gw, got 'C=CH, Q=x': unknown attribute Q; known are C, ST, S, L, O, OU, CN, SN, serialNumber, street, T, D, postalCode, N, GN, I, dnQualifier, E, emailAddress, UN, UID, DC, and dotted OIDs"}},
      {"a pattern as our own name", "id: gw-a.example", "id: \"C=CH, O=*\"",
       {":14:17: connections.site-b.local.id: expected an identity of our own, got the pattern 'C=CH, O=*'"}},
      {"a pattern as our own host name", "id: gw-a.example", "id: \"*.example\"",
       {":14:17: connections.site-b.local.id: expected an identity: an IP address, a host name (FQDN), user@domain, a distinguished name such as \"C=CH, O=Example, CN=gw\", keyid:name, or %any, got '*.example'"}},
      {"a key id without a name", "id: gw-b.example", "id: \"keyid:\"",
       {":15:18: connections.site-b.remote.id: expected 1 to 255 printable characters behind keyid:, no star, quotation mark or backslash, got 'keyid:'"}},
      {"a key id as a pattern", "id: gw-b.example", "id: \"keyid:*\"",
       {":15:18: connections.site-b.remote.id: expected 1 to 255 printable characters behind keyid:, no star, quotation mark or backslash, got 'keyid:*'"}},
      {"a star in the middle", "id: gw-b.example", "id: \"gw-*.example\"",
       {":15:18: connections.site-b.remote.id: expected an identity: an IP address, a host name (FQDN), user@domain, a distinguished name such as \"C=CH, O=Example, CN=gw\", keyid:name, a pattern (*.domain, *@domain, \"C=CH, O=*\"), or %any, got 'gw-*.example'"}},
      {"a private key in the file is not repeated", "{id: gw-a.example}", "{auth: pubkey, certs: /x.pem, key: \"-----BEGIN PRIVATE KEY-----\"}",
       {":14:47: connections.site-b.local.key: expected file:/absolute/path, or empty: none; a private key may not stand in this file",
        ":15:13: connections.site-b.remote.auth: expected pubkey as in local.auth, or xauth: in IKEv1 both sides prove themselves in one way",
        ":16:13: warning: connections.site-b.secret: no pre-shared key is used, since local.auth is not psk"}},
      {"certificates without any file", "    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n    secret: file:/run/x/psk\n", "    local: {auth: pubkey}\n    remote: {auth: pubkey, id: gw-b.example}\n",
       {":14:12: connections.site-b.local.certs: expected the file of our certificate, since auth is pubkey",
        ":14:12: connections.site-b.local.key: expected the file of our private key, since auth is pubkey",
        ":15:13: connections.site-b.remote.cacerts: expected the file of an authority that is trusted (or the peer's certificate in certs), since auth is pubkey"}},
      {"whoever has a certificate", "    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n    secret: file:/run/x/psk\n", "    local: {auth: pubkey, certs: /a.pem, key: \"file:/a.key\"}\n    remote: {auth: pubkey, cacerts: [/ca.pem], revocation: ignore}\n",
       {":15:13: warning: connections.site-b.remote.id: without an identity, whoever has a certificate of these authorities is taken for this peer",
        ":15:60: warning: connections.site-b.remote.revocation: a stolen key is good until its certificate expires, though it was revoked"}},
      {"weak certificates", "    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n    secret: file:/run/x/psk\n", "    allow_weak: [rsa1024, sha1cert]\n    local: {auth: pubkey, certs: /a.pem, key: \"file:/a.key\"}\n    remote: {auth: pubkey, id: gw-b.example, cacerts: [/ca.pem]}\n",
       {":14:18: warning: connections.site-b.allow_weak[0]: certificates with RSA keys below 2048 bits are taken from this peer; who can afford it forges them",
        ":14:27: warning: connections.site-b.allow_weak[1]: certificates with SHA-1 are taken from this peer; who can afford it forges them"}},
      {"certificates beside a pre-shared key", "local: {id: gw-a.example}\n    remote: {id: gw-b.example}", "local: {id: gw-a.example, certs: /a.pem, key: \"file:/a.key\"}\n    remote: {id: gw-b.example, cacerts: /ca.pem}",
       {":14:38: warning: connections.site-b.local.certs: no certificate is used, since auth is neither pubkey nor eap-tls",
        ":14:51: warning: connections.site-b.local.key: no private key is used, since auth is neither pubkey nor eap-tls",
        ":15:41: warning: connections.site-b.remote.cacerts: no certificate is looked at, since auth is neither pubkey nor eap-tls"}},
      {"the two sides in two ways", "remote: {id: gw-b.example}", "remote: {auth: xauth, id: gw-b.example}",
       {":15:20: connections.site-b.remote.auth: expected psk as in local.auth: in IKEv1 both sides prove themselves in one way"}},
      {"hybrid from the wrong side", "local: {id: gw-a.example}", "local: {auth: xauth, id: gw-a.example}",
       {":14:19: connections.site-b.local.auth: expected xauth.user beside auth: xauth",
        ":15:13: connections.site-b.remote.auth: expected pubkey, since local.auth is xauth (hybrid authentication)",
        ":16:13: warning: connections.site-b.secret: no pre-shared key is used, since local.auth is not psk"}},
      {"bad connection name", "  site-b:", "  site b:",
       {":10:3: connections.site b: expected a name of 1 to 30 letters, digits, '_', '.' or '-', got 'site b'"}},
      {"too long child name", "      net:", "      net-with-a-name-that-is-too-long:",
       {":18:7: connections.site-b.children.net-with-a-name-that-is-too-long: expected a name of 1 to 30 letters, digits, '_', '.' or '-', got 'net-with-a-name-that-is-too-long'"}},
      {"device used twice", "net_af_packet1,", "net_af_packet0,",
       {":6:17: ports.lan.device: expected a device of its own, but 'net_af_packet0' is also that of port 'wan'"}},
      {"kernel interface used twice", "iface=in0", "iface=gw0",
       {":6:17: ports.lan.device: expected a device of its own, but 'iface=gw0' is also that of port 'wan'"}},
      {"address used twice", "[10.1.0.1/24]", "[10.1.0.1/24, 10.9.0.1/24]",
       {":6:70: ports.lan.addresses[1]: the address 10.9.0.1 is also that of port 'wan'"}},
      {"networks overlap", "[10.1.0.1/24]", "[10.9.0.129/25]",
       {":6:57: ports.lan.addresses[0]: its network overlaps with 10.9.0.1/24 of port 'wan'"}},
      {"fewer queues than workers", "addresses: [10.1.0.1/24]", "addresses: [10.1.0.1/24], queues: 1",
       {":6:79: ports.lan.queues: expected 0, or at least one for each of the 2 workers, got 1"}},
      {"next hop on no network", "via: 10.9.0.2", "via: 10.8.0.2",
       {":8:28: routes[0].via: expected an address on a network of a port, but 10.8.0.2 is on none"}},
      {"next hop is ourselves", "via: 10.9.0.2", "via: 10.9.0.1",
       {":8:28: routes[0].via: expected another host, but 10.9.0.1 is an address of this gateway"}},
      {"next hop on another port", "via: 10.9.0.2", "via: 10.9.0.2, port: lan",
       {":8:28: routes[0].via: expected an address on a network of port 'lan', but 10.9.0.2 is on one of port 'wan'"}},
      {"unknown port", "via: 10.9.0.2", "port: lam",
       {":8:29: routes[0].port: there is no port or VLAN 'lam'; did you mean 'lan'?"}},
      {"several next hops, some wrong", "via: 10.9.0.2", "via: [10.9.0.2, 10.1.0.9, 10.9.0.2, 10.8.0.1, 10.9.0.1, 2001:db8::1]",
       {":8:49: routes[0].via[2]: the next hop 10.9.0.2 stands there already",
        ":8:59: routes[0].via[3]: expected an address on a network of a port, but 10.8.0.1 is on none",
        ":8:69: routes[0].via[4]: expected another host, but 10.9.0.1 is an address of this gateway",
        ":8:79: routes[0].via[5]: expected the address family of to"}},
      {"weights that are none", "via: 10.9.0.2", "via: [{address: 10.9.0.2, weight: 0}, {address: 10.9.0.3, wieght: 2}, {weight: 2}]",
       {":8:57: routes[0].via[0].weight: expected a weight from 1 to 100, got '0'",
        ":8:81: routes[0].via[1].wieght: unknown key; did you mean 'weight'?",
        ":8:93: routes[0].via[2].address: the key is missing: expected an IP address such as 10.9.0.1 or 2001:db8::1"}},
      {"VLANs that are none", "routes:", "vlans: {a: {port: lam, id: 7, addresses: 10.7.0.1/24}, b: {port: lan, id: 0, addresses: 10.8.0.1/24}, c: {port: lan}}\nroutes:",
       {":7:19: vlans.a.port: there is no port 'lam'; did you mean 'lan'?",
        ":7:75: vlans.b.id: expected a VLAN id from 1 to 4094, got '0'",
        ":7:106: vlans.c.id: the key is missing: expected a VLAN id from 1 to 4094",
        ":7:106: vlans.c.addresses: the key is missing: expected an IP address with its prefix length such as 10.9.0.1/24 or 2001:db8::1/64, or a list of up to 64"}},
      {"VLANs against their ports and each other", "routes:",
       "vlans:\n  lan: {port: wan, id: 7, addresses: 10.7.0.1/24, mtu: 1501}\n  b: {port: wan, id: 7, addresses: 10.9.0.9/16}\n"
       "  c: {port: lan, id: 7, addresses: [10.7.0.1/24, 2001:db8::1/64], mtu: 900}\nroutes:\n  - {to: 10.66.0.0/16, via: 10.7.0.5, port: lan}",
       {":8:8: vlans.lan: expected a name that no port has",
        ":8:56: vlans.lan.mtu: expected at most the mtu of port 'wan', 1500, got 1501",
        ":9:22: vlans.b.id: expected a number of its own, but 7 is also that of VLAN 'lan'",
        ":9:36: vlans.b.addresses: its network overlaps with 10.9.0.1/24 of port 'wan'",
        ":10:37: vlans.c.addresses[0]: the address 10.7.0.1 is also that of VLAN 'lan'",
        ":10:72: vlans.c.mtu: expected at least 1280 beside an IPv6 address (RFC 8200 section 5), got 900"}},
      {"a port that has neither addresses nor VLANs", "[10.1.0.1/24]", "[]",
       {":6:56: ports.lan.addresses: expected an address, for no VLAN of this port has one either"}},
      {"neither via nor port", ", via: 10.9.0.2", "",
       {":8:5: routes[0]: expected via (a next hop), port (on link) or tunnel"}},
      {"route to a connected network", "to: 10.2.0.0/24", "to: 10.1.0.0/24",
       {":8:10: routes[0].to: is the network of a port's own address: it needs no route"}},
      {"two routes to one network", "  - {to: 10.2.0.0/24, via: 10.9.0.2}\n", "  - {to: 10.2.0.0/24, via: 10.9.0.2}\n  - {to: 10.2.0.0/24, via: 10.9.0.3}\n",
       {":9:10: routes[1].to: there is a route to 10.2.0.0/24 already: routes[0]"}},
      {"local address of no port", "local_addrs: 10.9.0.1", "local_addrs: [10.9.0.1, 10.9.0.7]",
       {":11:29: connections.site-b.local_addrs[1]: expected an address of a port (10.9.0.1, 10.1.0.1), got 10.9.0.7"}},
      {"remote address is ours", "remote_addrs: [10.9.0.2]", "remote_addrs: [10.1.0.1]",
       {":12:20: connections.site-b.remote_addrs[0]: expected an address of the peer, but 10.1.0.1 is an address of this gateway"}},
      {"start towards %any", "remote_addrs: [10.9.0.2]", "remote_addrs: \"%any\"",
       {":22:23: connections.site-b.children.net.start_action: expected none, since remote_addrs of this connection names no single address: there is nobody to send to"}},
      {"no children", kChildren, "",
       {":17:5: connections.site-b.children: expected at least one child"}},
      {"rekey_time not before life_time", "        start_action: start", "        rekey_time: 30m\n        life_time: 30m",
       {":23:20: connections.site-b.children.net.life_time: expected more than rekey_time (30m), got 30m"}},
      {"rekey_time beyond the range leaves no second finding", "        start_action: start", "        rekey_time: 90d\n        life_time: 30m",
       {":22:21: connections.site-b.children.net.rekey_time: expected a time from 1s to 30d, got '90d'"}},
      {"rand_time not below rekey_time", "        start_action: start", "        rekey_time: 30m\n        rand_time: 1h",
       {":23:20: connections.site-b.children.net.rand_time: expected less than rekey_time (30m), got 1h"}},
      {"soft bytes not below hard bytes", "        start_action: start", "        rekey_bytes: 2GB\n        life_bytes: 1GB",
       {":23:21: connections.site-b.children.net.life_bytes: expected more than rekey_bytes (2GB), got 1GB"}},
      {"hard bytes alone", "        start_action: start", "        life_bytes: 1GB",
       {":22:21: connections.site-b.children.net.life_bytes: expected rekey_bytes beside it: without, the tunnel would stop there instead of being rekeyed"}},
      {"hard packets alone", "        start_action: start", "        life_packets: 1000",
       {":22:23: connections.site-b.children.net.life_packets: expected rekey_packets beside it: without, the tunnel would stop there instead of being rekeyed"}},
      {"dpd_timeout below dpd_delay", "    secret:", "    dpd_delay: 1m\n    dpd_timeout: 30s\n    secret:",
       {":17:18: connections.site-b.dpd_timeout: expected at least dpd_delay (1m), got 30s"}},
      {"too many packet buffers", "mbufs: 8192", "mbufs: 1048576",
       {":3:50: dataplane.memory.mbufs: 1048576 packet buffers do not fit into memory.size of 256MB"}},
      {"both sockets the same", "ports:\n", "control: {socket: /run/culvert/dataplane.sock}\nports:\n",
       {":4:19: control.socket: expected another path than that of dataplane.socket"}},
      {"port in one selector without protocol", "local_ts: 10.1.0.0/24", "local_ts: 10.1.0.0/24[tcp/80]",
       {":20:20: connections.site-b.children.net.remote_ts: expected the protocol of local_ts, got 10.2.0.0/24 beside 10.1.0.0/24[tcp/80]"}},
      {"two children with equal selectors", "        start_action: start\n", "        start_action: start\n  site-c:\n    local_addrs: 10.9.0.1\n    remote_addrs: 10.9.0.3\n    proposals: aes256-sha256-modp2048\n    secret: file:/run/x/psk-c\n    children:\n      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/24, esp_proposals: aes128gcm16}\n",
       {":29:47: connections.site-c.children.net.remote_ts: the child 'site-b/net' has the same selectors: this one would never carry a packet"}},
      {"child inside of another", "        start_action: start\n", "        start_action: start\n  site-c:\n    local_addrs: 10.9.0.1\n    remote_addrs: 10.9.0.3\n    proposals: aes256-sha256-modp2048\n    secret: file:/run/x/psk-c\n    children:\n      net: {local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/25, esp_proposals: aes128gcm16}\n",
       {":29:47: warning: connections.site-c.children.net.remote_ts: the child 'site-b/net' comes first and has all of this traffic: this one never sees a packet; give it a smaller priority"}},
      {"policy hidden by a child", "connections:\n", "policies:\n  - {name: p, action: bypass, local_ts: 10.1.0.9, remote_ts: 10.2.0.9}\nconnections:\n",
       {":10:62: warning: policies[0].remote_ts: the child 'site-b/net' comes first and has all of this traffic: this one never sees a packet; give it a smaller priority"}},
      {"two policies of one name", "connections:\n", "policies:\n  - {name: p, action: bypass, local_ts: 10.1.0.9, remote_ts: 10.5.0.9}\n  - {name: p, action: bypass, local_ts: 10.1.0.9, remote_ts: 10.6.0.9}\nconnections:\n",
       {":11:12: policies[1].name: there is a policy 'p' already"}},
      {"a weak algorithm without leave", "[aes256-sha256-modp2048]", "[aes256-sha256-modp2048, 3des-sha256-modp2048]",
       {":13:16: connections.site-b.proposals: expected algorithms that still protect, but 3des does not; for a peer that has nothing better, name it in allow_weak of this connection"}},
      {"a weak algorithm with leave", "    proposals: [aes256-sha256-modp2048]\n", "    proposals: [3des-md5-modp1024]\n    allow_weak: [3des, md5, modp1024, modp768]\n",
       {":13:16: warning: connections.site-b.proposals: 3des is weak and is used for this peer only; whoever records the traffic may read it one day",
        ":13:16: warning: connections.site-b.proposals: md5 is weak and is used for this peer only; whoever records the traffic may read it one day",
        ":13:16: warning: connections.site-b.proposals: modp1024 is weak and is used for this peer only; whoever records the traffic may read it one day",
        ":14:39: warning: connections.site-b.allow_weak[3]: no proposal of this connection uses modp768"}},
      {"Aggressive Mode that gives a hash away is warned of", "    proposals: [aes256-sha256-modp2048]\n", "    proposals: [aes256-sha256-modp2048]\n    aggressive: true\n    aggressive_psk_exposes_hash_to_offline_guessing: true\n",
       {":15:54: warning: connections.site-b.aggressive_psk_exposes_hash_to_offline_guessing: whoever sends one datagram gets a hash of the secret, and can try guesses of it offline, as many and as fast as his machines allow: use a secret of 20 random characters or more, or certificates"}},
      {"the price of Aggressive Mode without it", "    proposals: [aes256-sha256-modp2048]\n", "    proposals: [aes256-sha256-modp2048]\n    aggressive_psk_exposes_hash_to_offline_guessing: true\n",
       {":14:54: warning: connections.site-b.aggressive_psk_exposes_hash_to_offline_guessing: nothing is exposed, since aggressive is not set"}},
      {"Aggressive Mode without its price is initiated, with one group", "    proposals: [aes256-sha256-modp2048]\n", "    proposals: [aes256-sha256-modp2048, aes256-sha256-ecp256]\n    aggressive: true\n",
       {":13:16: warning: connections.site-b.proposals: Aggressive Mode offers only what has the group of the first one, so aes256-sha256-ecp256 is for peers that begin"}},
      {"a weak algorithm that there is not", "    proposals: [aes256-sha256-modp2048]\n", "    proposals: [aes256-sha256-modp2048]\n    allow_weak: 3dse\n",
       {":14:17: connections.site-b.allow_weak: expected one of aes128gcm8, aes192gcm8, aes256gcm8, aes128ccm8, aes256ccm8, aes128gmac, aes192gmac, aes256gmac, null, 3des, des, md5, modp1536, modp1024, modp768, modp1024s160, modp2048s224, modp2048s256, rsa1024, sha1cert, eap-md5, got '3dse'; did you mean '3des'?"}},
      {"sha1 is warned of", "[aes256-sha256-modp2048]", "[aes256-sha256-modp2048, aes128-sha1-modp2048]",
       {":13:16: warning: connections.site-b.proposals: aes128-sha1-modp2048 uses SHA-1, which is kept for old peers only; prefer sha256"}},
      {"anybody with the secret is warned of", "    remote_addrs: [10.9.0.2]\n    proposals: [aes256-sha256-modp2048]\n    local: {id: gw-a.example}\n    remote: {id: gw-b.example}\n", "    proposals: aes256-sha256-modp2048\n",
       {":11:5: warning: connections.site-b.remote: with remote_addrs %any and no remote.id, whoever knows the secret is taken for this peer",
        ":19:23: connections.site-b.children.net.start_action: expected none, since remote_addrs of this connection names no single address: there is nobody to send to"}},
      {"a peer that no route leads to is warned of", "[10.9.0.2]", "[10.9.0.2, 198.51.100.1]",
       {":12:30: warning: connections.site-b.remote_addrs[1]: no route leads to 198.51.100.1: no port's network and no entry of routes has it"}},
      {"a peer behind a route", "  remote_addrs: [10.9.0.2]", "  remote_addrs: 10.2.0.9", {}},
      {"default bypass is warned of", "connections:\n", "default_policy: bypass\nconnections:\n",
       {":9:17: warning: default_policy: what matches no child is forwarded in clear, also while a tunnel's selectors are mistyped"}},
      {"empty file", kBase, "",
       {": the file holds nothing; configs/reference.yaml shows what belongs here"}},
      {"only comments", kBase, "# nothing\n",
       {": the file holds nothing; configs/reference.yaml shows what belongs here"}},
      {"a list", kBase, "- a\n",
       {":1:1: expected a map of sections, got a list"}},
      {"a text", kBase, "hello\n",
       {":1:1: expected a map of sections, got 'hello'"}},
      {"two documents", kBase, kBase + "---\nports: {}\n",
       {":24:1: expected one YAML document, got a second one"}},
      {"broken YAML", "routes:\n", "routes: [\n",
       {":8:3: no valid YAML: illegal block entry"}},
      {"a tab as indentation", "  site-b:", "\tsite-b:",
       {":10:8: no valid YAML: illegal map value; line 10 is indented with a tab, where YAML wants spaces"}},
      {"unknown alias is not repeated", "secret: file:/run/x/psk", "secret: *hunter2",
       {":16:13: no valid YAML: the referenced anchor is not defined"}},
      {"alias in itself", "workers: [0, 1]", "workers: &a [0, *a]",
       {":2:19: an alias inside of what it stands for"}},
      {"control character", "gw-a.example", "gw-a\x04" ".example",
       {":14:21: expected text, got the control character \\x04"}},
      {"a list as key", "  workers:", "  ? [a]\n  : b\n  workers:",
       {":2:5: dataplane: expected a name as key, got a list"}},
  };
  return all;
}
// clang-format on

std::vector<std::string> findings(const std::string& text) {
  const auto result = load_text(text, "gw.yaml");
  std::vector<std::string> out;
  bool error = false;
  for (const auto& d : result ? result->warnings : result.error()) {
    out.push_back(d.to_string().substr(7));
    error = error || d.severity == Diagnostic::Severity::Error;
  }
  CHECK(error != result.has_value());
  return out;
}

}  // namespace

TEST_CASE("each broken file gets exactly these findings", "[config][findings][attack-M3][attack-C4]") {
  CHECK(findings(kBase).empty());
  for (const auto& row : rows()) {
    INFO(row.what);
    std::string text = kBase;
    const auto at = text.find(row.find);
    REQUIRE(at != std::string::npos);
    text.replace(at, row.find.size(), row.replace);
    CHECK(findings(text) == row.expected);
  }
}

TEST_CASE("a file that is too large, too deep or too wide is refused", "[config][findings]") {
  CHECK(findings(std::string((4U << 20) + 1, '#')) == std::vector<std::string>{": larger than 4 MB, which is no configuration"});
  std::string deep = "a:\n";
  for (std::size_t i = 1; i <= 16; ++i) deep += std::string(i, ' ') + "a:\n";
  CHECK(findings(deep + std::string(17, ' ') + "a: b\n") == std::vector<std::string>{":17:17: nested deeper than 16 levels"});
  for (const char bracket : {'[', '{'}) {
    const auto found = findings(std::string(100000, bracket));
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("nested deeper than 16 levels") != std::string::npos);
  }
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string n = std::to_string(i), alias = "*a" + std::to_string(i - 1);
    bomb += "a" + n + ": &a" + n + " [" + alias;
    for (int k = 0; k < 9; ++k) bomb += ", " + alias;
    bomb += "]\n";
  }
  const auto found = findings(bomb);
  REQUIRE(found.size() == 1);
  CHECK(found[0].find("more than 1000000 values, with aliases expanded") != std::string::npos);
}

TEST_CASE("a file full of nonsense does not fill the terminal", "[config][findings]") {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "key" + std::to_string(i) + ": x\n";
  const auto found = findings(text);
  REQUIRE(found.size() == Sink::kMaxDiagnostics + 1);
  CHECK(found.back() == ": 4001 further errors are not shown");
}

TEST_CASE("what cannot be read is said", "[config][findings]") {
  for (const auto& [path, why] :
       std::vector<std::pair<std::string, std::string>>{{"/nonexistent/gw.yaml", "cannot be opened: No such file or directory"},
                                                        {"/", "is no regular file"},
                                                        {"/dev/zero", "is no regular file"}}) {
    const auto result = load_file(path);
    REQUIRE_FALSE(result);
    REQUIRE(result.error().size() == 1);
    CHECK(result.error()[0].to_string() == path + ": " + why);
  }
}
