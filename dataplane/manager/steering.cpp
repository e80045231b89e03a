#include "dataplane/manager/steering.hpp"

#include <algorithm>

#include "common/bytes.hpp"
#include "dataplane/nodes/classify.hpp"

namespace culvert::dp {

void Steering::done(const shm::Message& command) {
  if (command.type == shm::MessageType::InstallSa) {
    auto sa = command.as<shm::InstallSa>();
    if (sa.direction == Direction::Inbound) steer(sa.spi, sa.slot, sa.suite.protocol, sa.local);
    wipe_object(sa);
  } else if (command.type == shm::MessageType::RemoveSa) {
    const auto sa = command.as<shm::RemoveSa>();
    if (sa.direction == Direction::Inbound)
      for (const auto& port : ports_) port->unsteer(sa.spi);
  } else if (command.type == shm::MessageType::MoveSa) {
    const auto sa = command.as<shm::MoveSa>();
    shm::SaSnapshot there;
    if (sa.direction != Direction::Inbound || !shm::read_record(inbound_[sa.slot], there)) return;
    for (const auto& port : ports_) port->unsteer(sa.spi);
    steer(sa.spi, sa.slot, there.suite.protocol, sa.local);
  }
}

void Steering::steer(Spi spi, std::uint32_t slot, SaProtocol protocol, const Endpoint& local) {
  // Neither AH nor ESP behind a non-IKE marker (draft-ietf-ipsec-udp-encaps-00) stands where a device looks for an SPI.
  if (protocol != SaProtocol::Esp || (local.port != 0 && local.port != kNatTPort)) return;
  for (std::size_t i = 0; i < interfaces_.size(); ++i)
    if (interfaces_[i].vrf == local.vrf &&
        std::ranges::any_of(interfaces_[i].addresses, [&](const Prefix& own) { return own.address == local.address; }))
      ports_[i < ports_.size() ? i : interfaces_[i].port]->steer(
          {spi, local.address.family, local.port != 0, static_cast<std::uint16_t>(inbound_[slot].worker), interfaces_[i].vlan});
}

}  // namespace culvert::dp
