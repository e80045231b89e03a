// What the fuzz targets of ESP and AH have alike: an engine, a table of inbound SAs, and a sink that counts what it was given.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "dataplane/nodes/esp.hpp"

namespace culvert::dp::fuzz {

inline void require(bool condition) {
  if (!condition) std::abort();
}

/// The lengths of the keys are the suite's; the keys are zeros.
inline void set_key_sizes(shm::InstallSa& m) {
  const auto* encr = find_encr(m.suite.encr, m.suite.key_bits);
  const auto* integ = find_integ(m.suite.integ);
  m.encr_key_bytes = static_cast<std::uint8_t>(encr != nullptr ? encr->key_bytes() + encr->salt : 0);
  m.integ_key_bytes = integ != nullptr ? integ->key : std::uint8_t{0};
}

struct EspWorld {
  CryptoEngine engine;
  std::uint32_t capacity;
  std::unique_ptr<shm::WorkerCounters> worker = std::make_unique<shm::WorkerCounters>();
  shm::SaCounters counters;
  InboundTable table{capacity};
  std::size_t released = 0;
  DropSink drops{*worker, [](void* self, std::span<void* const> handles) { static_cast<EspWorld*>(self)->released += handles.size(); },
                 this};

  EspWorld(CryptoEngine e, std::uint32_t slots) : engine(std::move(e)), capacity(slots) {}
  EspWorld(const EspWorld&) = delete;
  EspWorld& operator=(const EspWorld&) = delete;

  void add_inbound(const shm::InstallSa& m) {
    auto in = make_inbound(m, capacity, engine, {0, &counters, 0});
    require(in && table.publish(m.slot, *in) == shm::AckResult::Ok);
  }
  /// The other end of what `m` says.
  SaPtr<OutboundSa> peer_of(shm::InstallSa m) {
    m.direction = Direction::Outbound;
    std::swap(m.local, m.remote);
    std::swap(m.local_ts, m.remote_ts);
    auto out = make_outbound(m, capacity, engine, {0, &counters, 0});
    require(out.has_value());
    return std::move(*out);
  }
  /// From the look for the SA to the inner packet: in one burst alone.
  void open(Burst& burst) {
    esp_in_lookup(burst, table, drops);
    EspContext context{engine, drops, 0};
    esp_in(burst, context);
    drops.flush();
  }
};

inline CryptoEngine engine() {
  auto made = CryptoEngine::create();
  require(made.has_value());
  return std::move(*made);
}

}  // namespace culvert::dp::fuzz
