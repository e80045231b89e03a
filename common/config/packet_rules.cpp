#include "common/config/packet_rules.hpp"

#include "common/config/kinds.hpp"

namespace culvert::config {

Section<PacketRules> packet_rules_section() {
  using R = PacketRules;
  return Section<R>()
      .key("copy_df", &R::df, choice<CopyDf>({{"yes", CopyDf::Yes}, {"no", CopyDf::No}, {"set", CopyDf::Set}}),
           "The outer packet's DF bit. yes: the inner packet's. no: clear, so that routers may fragment it. set: always set.")
      .key("copy_ecn", &R::ecn, choice<CopyEcn>({{"yes", CopyEcn::Yes}, {"no", CopyEcn::No}}),
           "Congestion marks go outside with the packet (RFC 6040, normal mode). no: outer packets say that they do not take part "
           "(compatibility mode), for a peer that would lose marks. Marks of outer packets that arrive are heeded in any case.")
      .key("copy_dscp", &R::dscp,
           choice<CopyDscp>({{"out", CopyDscp::Out}, {"in", CopyDscp::In}, {"yes", CopyDscp::Yes}, {"no", CopyDscp::No}}),
           "The class of service (DSCP) is copied to outer packets (out), from them to inner ones (in), both (yes), or neither (no). What "
           "arrives outside is not authenticated: in and yes believe the network between.")
      .key("fragmentation", &R::cut, choice<CutWhen>({{"before", CutWhen::Before}, {"after", CutWhen::After}}),
           "Where a packet that is too large may be fragmented. before: into packets that are encrypted each, so that the peer has nothing "
           "to put together. after: it is encrypted whole, and the outer packet is fragmented, if its DF bit is clear.")
      .key("mss", &R::mss, number_or({{"auto", R::kByMtu}, {"off", R::kOff}}, 536, 8960, "bytes"),
           "The largest TCP segment that connections through the tunnel agree on, in both directions, where hosts ask for more. auto: what "
           "fits into one packet, which follows the path. So TCP works where ICMP is blocked.")
      .key("tfc_padding", &R::tfc_padding, number_or({{"mtu", R::kByMtu}}, 0, 9000, "bytes"),
           "Smaller packets are padded to so many bytes before they are encrypted, so that their size tells less (RFC 4303 §2.7); mtu: to "
           "the largest that fits; 0: not at all. For ESP in tunnel mode.")
      .key("dummy_interval", &R::dummy_interval, duration<Milliseconds>(R::kMinDummy, R::kMaxDummy, "none"),
           "A packet that carries nothing is sent this often, which the peer drops unseen (RFC 4303 §2.6), so that silence tells less, "
           "too. It "
           "looks like any other with tfc_padding. For ESP in tunnel mode.")
      .key("spread", &R::spread, choice<SpreadCrypto>({{"no", SpreadCrypto::No}, {"yes", SpreadCrypto::Yes}}),
           "Whether all workers share the cryptography of each SA of this child, for one tunnel that is more than one of them can carry. "
           "Order, sequence numbers and counters stay as they are with one. Costs the others their time, and each packet some microseconds "
           "on its way, so it is nothing for many small tunnels, which the workers share as they are. Each worker needs a core of its own: "
           "one "
           "that loses it in the middle holds the tunnel up. With one worker: nothing.");
}

}  // namespace culvert::config
