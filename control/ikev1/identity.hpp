// Identities of phase 1 (RFC 2407 §4.6.2) and proxy identities of phase 2 (RFC 2409 §5.5) against what is configured.
// Owns the mapping between ID payloads and configured identities or selectors. Never logs a raw identity: printable() first.
#pragma once

#include <optional>
#include <string>

#include "common/config/config.hpp"
#include "common/ipsec/selector.hpp"
#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

/// Our identity on the wire. An identity of type Any stands for our address.
Id to_id(const config::Identity& identity, const IpAddress& local);
/// Whether the peer may call itself so. Any: every identity will do. Names without regard to case; a pattern matches all of its own type
/// ("*.example" only FQDNs, "*@example" only user FQDNs); distinguished names RDN by RDN (matches_name).
bool matches(const config::Identity& expected, const Id& received);
/// For a log line: "gw-b.example", "10.9.0.2", "C=CH, CN=gw-b", "keyid:group7".
std::string to_text(const Id& id);
std::string to_text(const config::Identity& identity);
/// RFC 2407 §4.6.2: protocol and port of a phase 1 identity are zero, or UDP and 500 (4500 behind a NAT).
bool phase1_port_ok(const Id& id);

/// A selector as a proxy identity; nullopt: a range of ports has none (RFC 2407 §4.6.2 knows one port, or all).
std::optional<Id> to_proxy_id(const TrafficSelector& selector);
/// nullopt: a type that names no addresses, a wrong length, a subnet mask with holes, or a port without a protocol.
std::optional<TrafficSelector> from_proxy_id(const Id& id);

}  // namespace culvert::ikev1
