// The ESP and AH nodes (RFC 4303, RFC 4302; tunnel and transport mode): a burst of packets in, the same burst transformed out, bad ones
// gone to the DropSink. Owns the order of checks on the packet path. Never allocates, locks or frees; never touches an SA of another
// worker.
//
//     ESP, or UDP with ESP in it                              plain packet with Packet::outbound set (by the SPD)
//       esp_in_lookup    finds the SA: Packet::inbound          esp_out_prepare   sequence, padding, outer header, IV
//       (worker: hand packets over to the SA's owner)           crypto            over the whole burst
//       esp_in_prepare   peer, size, replay; no key yet         esp_out_finish    counts
//       crypto           over the whole burst                     -> packet to Packet::outbound->peer
//       esp_in_finish    ICV verdict, replay commit, padding, inner header, ECN, selectors; counts
//         -> inner packet, parsed, Packet::inbound still set
#pragma once

#include <cstdint>

#include "dataplane/crypto/engine.hpp"
#include "dataplane/drop.hpp"
#include "dataplane/nodes/early.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/sad/sa_table.hpp"
#include "dataplane/spd/flow_key.hpp"

namespace culvert::dp {

struct InboundRow;

/// What the ESP nodes of one worker work with.
struct EspContext {
  CryptoEngine& crypto;
  DropSink& drops;
  std::uint64_t now_ns = 0;  ///< CLOCK_MONOTONIC, as of this pass; goes into SaCounters::last_used_ns
  std::uint64_t seen = 0;    ///< a bit for each SA that had packets, about as many as SAs while they are few; the worker's to clear

  void see(const void* sa) { seen |= std::uint64_t{1} << (reinterpret_cast<std::uintptr_t>(sa) * 0x9e3779b97f4a7c15U >> 58); }
};

/// What the steps of one burst tell each other: the operation of each packet and, by direction, one number.
struct EspBatch {  // no initial values: one is made per burst
  std::array<CryptoOp, kBurstMax> ops;
  std::array<std::uint64_t, kBurstMax> sequence;     ///< inbound
  std::array<std::uint32_t, kBurstMax> inner_bytes;  ///< outbound
};

/// What InboundRows has found in a packet.
struct Opened {
  /// A plain packet's: its inner IPv4 header, without options, right, of a whole packet. Its view is still that of the outer packet.
  /// nullptr: its view is that of the inner one.
  std::uint8_t* ip;
  std::uint32_t length;  ///< of a plain packet, as all that follows
  std::uint32_t policy;  ///< the number of its SA's
  FlowKey key;
};

/// Finds the SA of each packet. in: parsed IPv4 packets (parse_ip) of protocol 50 or 51, or of UDP with an ESP packet in it (port
/// 4500, not a keepalive, not the non-ESP marker; or port 500 with the non-IKE marker), addressed to us, no fragments. out: Packet::inbound
/// set. Drops EspRunt and EspNoSa, but for those that `early` takes.
void esp_in_lookup(Burst& burst, const InboundTable& table, DropSink& drops, EarlyPackets* early = nullptr, std::uint64_t now = 0);

/// All of decapsulation behind the lookup; every packet's SA must be this worker's.
void esp_in(Burst& burst, EspContext& context);

/// All of encapsulation; every packet's Packet::outbound must be set and be this worker's. Packets are parsed, their TTL is
/// decremented, and they fit (effective_mtu): out come IPv4 packets to the peer, parsed fields set accordingly.
void esp_out(Burst& burst, EspContext& context);

// The same in its steps, for who has the crypto done elsewhere (parcel.hpp). Packets of one SA must be finished in the order in which they
// were prepared; other bursts may be prepared in between.
/// `alike`: all packets have one SA, and one way outside: family, addresses, protocol, VRF, and no options.
void esp_in_prepare(Burst& burst, EspBatch& batch, EspContext& context, bool alike = false);
/// The same of packets that are alike, under the SA of a usual row: of how many from the first one on there is nothing to be said against.
/// They are ready; the others are not, and nothing was done about them.
std::size_t esp_in_prepare_alike(const Burst& burst, const InboundRow& row, EspBatch& batch);
void esp_in_finish(Burst& burst, const EspBatch& batch, EspContext& context);
/// What InboundRows asks of a packet that is not plain, or of an SA that is not usual, on which admit() has said `verdict`. Whether it goes
/// on; then its view is that of the inner packet.
bool esp_in_finish_one(Packet& p, Drop verdict, const CryptoOp& op, std::uint64_t sequence, EspContext& context);
/// Makes the view of a packet what it would be without that.
void settle(Packet& p, const Opened& opened);
void esp_out_prepare(Burst& burst, EspBatch& batch, EspContext& context);
void esp_out_finish(Burst& burst, const EspBatch& batch, EspContext& context);

}  // namespace culvert::dp
