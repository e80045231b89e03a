#include "control/ike/nat_traversal.hpp"

#include <algorithm>

#include "control/ike/header.hpp"

namespace culvert::ike {

std::string NatStatus::to_string() const {
  if (!supported) return "not detected (the peer does not support NAT traversal)";
  std::string out;
  if (local) out += "we are behind a NAT";
  if (remote) out += std::string(out.empty() ? "" : ", ") + "the peer is behind a NAT";
  if (forced) out += std::string(out.empty() ? "" : ", ") + "encapsulation is forced by configuration";
  if (out.empty()) return "no NAT";
  if (dialect == NatDialect::Draft02) out += " (NAT traversal of draft 02 or 03)";
  if (dialect == NatDialect::Draft00) out += " (NAT traversal of draft 00 or 01)";
  return out;
}

void detect_nat(NatStatus& status, std::span<const Bytes* const> received, const Endpoint& local, const Endpoint& remote,
                const NatHash& hash) {
  if (received.size() < 2) return;
  status.local = *received[0] != hash(local);
  const Bytes expected = hash(remote);
  const auto sources = received.subspan(1, std::min(received.size(), kMaxNatD) - 1);
  status.remote = std::none_of(sources.begin(), sources.end(), [&](const Bytes* b) { return *b == expected; });
}

Datagram frame(const Endpoint& local, const Endpoint& remote, ByteView message) {
  if (local.port == kNatPort) return {local, remote, with_non_esp_marker(message)};
  return {local, remote, Bytes(message.begin(), message.end())};
}

}  // namespace culvert::ike
