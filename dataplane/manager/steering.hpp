// Which ports' devices shall bring which SA's packets to its worker. Owns nothing: follows what is installed, moved and removed. For the
// manager's thread.
#pragma once

#include <memory>
#include <span>

#include "common/shm/messages.hpp"
#include "common/shm/segment.hpp"
#include "dataplane/interface.hpp"
#include "dataplane/io/port.hpp"

namespace culvert::dp {

class Steering {
 public:
  Steering(std::span<const std::unique_ptr<Port>> ports, std::span<const Interface> interfaces, std::span<const shm::SaRecord> inbound)
      : ports_(ports), interfaces_(interfaces), inbound_(inbound) {}

  /// A command has been done. An inbound ESP SA is steered on the port that has its local address, or whose VLAN does.
  void done(const shm::Message& command);

 private:
  void steer(Spi spi, std::uint32_t slot, SaProtocol protocol, const Endpoint& local);

  std::span<const std::unique_ptr<Port>> ports_;
  std::span<const Interface> interfaces_;
  std::span<const shm::SaRecord> inbound_;
};

}  // namespace culvert::dp
