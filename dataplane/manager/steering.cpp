#include "dataplane/manager/steering.hpp"

#include <algorithm>

#include "common/bytes.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

void Steering::done(const shm::Message& command) {
  if (command.type == shm::MessageType::InstallSa) {
    auto sa = command.as<shm::InstallSa>();
    if (sa.direction == Direction::Inbound) installed(sa);
    wipe_object(sa);
  } else if (command.type == shm::MessageType::RemoveSa) {
    const auto sa = command.as<shm::RemoveSa>();
    if (sa.direction == Direction::Inbound)
      for (const auto& port : ports_) port->unsteer(sa.spi);
  }
}

void Steering::installed(const shm::InstallSa& sa) {
  // Neither AH nor ESP behind a non-IKE marker (draft-ietf-ipsec-udp-encaps-00) stands where a device looks for an SPI.
  if (sa.suite.protocol != SaProtocol::Esp || (sa.local.port != 0 && sa.local.port != kNatTPort)) return;
  for (std::size_t i = 0; i < interfaces_.size(); ++i)
    if (interfaces_[i].vrf == sa.local.vrf &&
        std::ranges::any_of(interfaces_[i].addresses, [&](const Prefix& own) { return own.address == sa.local.address; }))
      ports_[i < ports_.size() ? i : interfaces_[i].port]->steer(
          {sa.spi, sa.local.address.family, sa.local.port != 0, static_cast<std::uint16_t>(inbound_[sa.slot].worker), interfaces_[i].vlan});
}

}  // namespace culvert::dp
