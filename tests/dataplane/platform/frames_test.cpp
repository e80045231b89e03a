// Which frames go on, and as whose: Ethernet's header, and the tag of a VLAN.
#include <algorithm>

#include "dataplane/nodes/classify.hpp"
#include "tests/support/packet_fixture.hpp"

namespace culvert::dp {
namespace {
using test::OwnedPacket;

Bytes tagged(std::uint16_t tag, std::uint16_t type, const Bytes& payload) {
  Bytes b{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x81, 0, 0, 0, 0, 0};
  store_be16(b.data() + 14, tag);
  store_be16(b.data() + 16, type);
  b.insert(b.end(), payload.begin(), payload.end());
  return b;
}
}  // namespace

TEST_CASE("frames of a VLAN are those of its interface, and of no other", "[classify][vlan][attack-K7]") {
  const std::array<std::uint8_t, 6> own{2, 0, 0, 0, 0, 1};
  const std::vector<Interface> interfaces{{.name = "wan"},
                                          {.name = "lan"},
                                          {.name = "lan.7", .port = 1, .vlan = 7},
                                          {.name = "wan.7", .port = 0, .vlan = 7},
                                          {.name = "lan.4094", .port = 1, .vlan = 4094}};
  const Vlans vlans(interfaces, 2);
  struct Row {
    std::uint16_t port, tag, type;
    FrameKind kind;
    Drop reason;
    std::uint16_t interface;
  };
  for (const Row& r :
       {Row{1, 7, 0x0800, FrameKind::Ip, {}, 2}, Row{0, 7, 0x0800, FrameKind::Ip, {}, 3}, Row{1, 4094, 0x0806, FrameKind::Arp, {}, 4},
        Row{1, 0xe007, 0x86dd, FrameKind::Ip, {}, 2}, Row{1, 0xf007, 0x0800, FrameKind::Ip, {}, 2}, Row{1, 0, 0x0800, FrameKind::Ip, {}, 1},
        Row{0, 0x6000, 0x0806, FrameKind::Arp, {}, 0}, Row{0, 4094, 0x0800, FrameKind::Dropped, Drop::VlanUnknown, 0},
        Row{1, 8, 0x0800, FrameKind::Dropped, Drop::VlanUnknown, 1}, Row{1, 4095, 0x0800, FrameKind::Dropped, Drop::VlanUnknown, 1},
        Row{1, 7, 0x8100, FrameKind::Dropped, Drop::RxNotForUs, 2}, Row{1, 7, 0x88cc, FrameKind::Dropped, Drop::RxNotForUs, 2}}) {
    OwnedPacket p(tagged(r.tag, r.type, Bytes(46, 0x55)), 16, 0);
    p.view.rx_port = r.port;
    REQUIRE(classify_frame(p.view, load_mac(own.data())).kind == FrameKind::Tagged);
    const FrameVerdict v = enter_vlan(p.view, load_mac(own.data()), vlans);
    CHECK(v.kind == r.kind);
    if (v.kind == FrameKind::Dropped) CHECK(v.reason == r.reason);
    CHECK(p.view.rx_port == r.interface);
    if (v.kind == FrameKind::Dropped) continue;
    CHECK(p.view.length == 46);
    CHECK(std::all_of(p.view.data, p.view.data + 46, [](std::uint8_t b) { return b == 0x55; }));
    CHECK(p.view.data[-3] == 0x99);  // the sender's MAC address is where that of an untagged frame is
    push_tag(p.view, r.tag, r.type);
    CHECK(load_be32(p.view.data) == (std::uint32_t{r.tag} << 16 | r.type));
    CHECK(p.view.length == 50);
  }
  for (std::size_t n = 14; n < 18; ++n) {
    Bytes frame = tagged(7, 0x0800, {});
    frame.resize(n);
    OwnedPacket runt(frame, 0, 0);
    runt.view.rx_port = 1;
    REQUIRE(classify_frame(runt.view, load_mac(own.data())).kind == FrameKind::Tagged);
    CHECK(enter_vlan(runt.view, load_mac(own.data()), vlans).reason == Drop::RxMalformed);
  }
}

TEST_CASE("frames: only IP to our MAC address, IPv6 to groups, and ARP go on", "[classify][attack-K7]") {
  const std::array<std::uint8_t, 6> own{2, 0, 0, 0, 0, 1};
  struct Row {
    std::uint8_t first;
    std::uint16_t type;
    FrameKind kind;
    Drop reason;
  };
  for (const Row& r :
       {Row{2, 0x0800, FrameKind::Ip, {}}, Row{2, 0x0806, FrameKind::Arp, {}}, Row{0xff, 0x0806, FrameKind::Arp, {}},
        Row{0xff, 0x0800, FrameKind::Dropped, Drop::RxNotForUs}, Row{4, 0x0800, FrameKind::Dropped, Drop::RxNotForUs},
        Row{2, 0x8100, FrameKind::Tagged, {}}, Row{2, 0x88a8, FrameKind::Dropped, Drop::RxNotForUs}, Row{2, 0x86dd, FrameKind::Ip, {}},
        Row{0x33, 0x86dd, FrameKind::Ip, {}}, Row{0x33, 0x0800, FrameKind::Dropped, Drop::RxNotForUs},
        Row{0xff, 0x86dd, FrameKind::Dropped, Drop::RxNotForUs}, Row{4, 0x86dd, FrameKind::Dropped, Drop::RxNotForUs}}) {
    Bytes frame(60);
    std::copy(own.begin(), own.end(), frame.begin());
    if (r.first == 0xff) std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
    frame[0] = r.first;
    if (r.first == 0x33) frame[1] = 0x33;
    store_be16(frame.data() + 12, r.type);
    OwnedPacket p(frame, 16, 0);
    const FrameVerdict v = classify_frame(p.view, load_mac(own.data()));
    CHECK(v.kind == r.kind);
    if (v.kind == FrameKind::Dropped) CHECK(v.reason == r.reason);
    if (v.kind != FrameKind::Dropped) CHECK(p.view.length == 46);
  }
  for (std::size_t n = 0; n < 14; ++n) {
    OwnedPacket runt(Bytes(n), 0, 0);
    CHECK(classify_frame(runt.view, load_mac(own.data())).reason == Drop::RxMalformed);
  }
}

}  // namespace culvert::dp
