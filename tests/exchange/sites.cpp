// The configurations and messages of tests/exchange/world.hpp.
#include "control/ike/nat_traversal.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test {

// ---------------------------------------------------------------------------------------------------------------- configuration

config::Child child(const std::string& name, const std::string& local_ts, const std::string& remote_ts, const std::string& proposals,
                    config::StartAction start) {
  config::Child c;
  c.name = name;
  c.local_ts = TrafficSelector::parse(local_ts).value();
  c.remote_ts = TrafficSelector::parse(remote_ts).value();
  c.esp_proposals = parse_esp_proposal(proposals).value();
  c.start_action = start;
  if (start != config::StartAction::None)
    c.dpd_action = start == config::StartAction::Start ? config::DpdAction::Restart : config::DpdAction::Trap;
  return c;
}

config::GatewayConfig site(const std::string& local, const std::string& remote, config::StartAction start) {
  const auto net = [](const std::string& address) { return address.ends_with(".1") ? "10.1.0.0/24" : "10.2.0.0/24"; };
  config::Connection c;
  c.name = "c";
  c.local_addrs = {IpAddress::parse(local).value()};
  if (!remote.empty()) c.remote_addrs = {IpAddress::parse(remote).value()};
  c.proposals = parse_ike_proposal("aes128-sha256-ecp256").value();
  c.local_id = {config::Identity::Type::IpAddr, local};
  c.remote_id = {config::Identity::Type::Any, "%any"};
  c.children = {child("net", net(local), net(local) == std::string("10.1.0.0/24") ? "10.2.0.0/24" : "10.1.0.0/24", "aes128gcm16", start)};
  config::GatewayConfig g;
  g.connections = {c};
  return g;
}

Pair two_sites(World& world, const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change) {
  auto a = site("10.9.0.1", "10.9.0.2", config::StartAction::Start);
  auto b = site("10.9.0.2", "10.9.0.1", config::StartAction::None);
  if (change) change(a, b);
  Host& host_a = world.add("A", std::move(a));
  Host& host_b = world.add("B", std::move(b));
  return {host_a, host_b};
}

Pair two_signing_sites(World& world, ike::AuthMethod method,
                       const std::function<void(config::GatewayConfig&, config::GatewayConfig&)>& change) {
  Pair out = two_sites(world, [&](auto& a, auto& b) {
    for (auto* g : {&a, &b}) {
      g->connections[0].local_auth.auth = g->connections[0].remote_auth.auth = config::Proof::Pubkey;
      g->connections[0].local_id = {config::Identity::Type::Fqdn, g == &a ? "a.example" : "b.example"};
      g->connections[0].remote_id = {config::Identity::Type::Fqdn, g == &a ? "b.example" : "a.example"};
    }
    if (change) change(a, b);
  });
  for (Host* h : {&out.a, &out.b}) {
    h->secrets.clear();
    for (const config::Connection& c : h->config.connections) h->keys[c.name] = method;
  }
  return out;
}

// ---------------------------------------------------------------------------------------------------------------- messages

std::optional<Seen> look(const ike::Datagram& datagram) {
  ByteView bytes = datagram.data;
  if (datagram.local.port == ike::kNatPort || datagram.remote.port == ike::kNatPort)
    if (const auto inner = ike::strip_non_esp_marker(bytes)) bytes = *inner;
  const auto framed = ike::parse_header(bytes);
  if (!framed) return std::nullopt;
  Seen out{framed->header, Bytes(framed->message.begin(), framed->message.end()), std::nullopt};
  if (!framed->header.encrypted())
    if (auto m =
            ikev1::Message::parse(static_cast<ikev1::PayloadType>(framed->header.next_payload), framed->body, ikev1::Trailing::Alignment))
      out.clear = std::move(*m);
  return out;
}

void rewrite(ike::Datagram& datagram, const ike::Header& header, const ikev1::Builder& payloads) {
  ike::Header h = header;
  h.next_payload = static_cast<std::uint8_t>(payloads.first());
  const Bytes message = ike::encode_message(h, payloads.chain());
  datagram.data = datagram.local.port == ike::kNatPort ? ike::with_non_esp_marker(message) : message;
}

int main_mode_number(const ike::Datagram& datagram, bool from_initiator) {
  const auto seen = look(datagram);
  if (!seen || seen->header.exchange != ike::kExchangeMainMode) return 0;
  if (seen->header.encrypted()) return from_initiator ? 5 : 6;
  if (!seen->header.spi_r) return 1;
  if (!seen->clear) return 0;
  if (seen->clear->count(ikev1::PayloadType::Sa) > 0) return 2;
  return from_initiator ? 3 : 4;
}

}  // namespace culvert::test
