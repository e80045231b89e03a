// Random packets of random suites, sizes and keys against OpenSSL, both directions, on every instruction set that this
// processor has: a burst mixes suites and sizes, as traffic does. CULVERT_OPENSSL_PACKETS: how many in all, instead of 180,000.
#include <cstdlib>
#include <iostream>
#include <random>

#include "tests/support/openssl_esp.hpp"
#include "tests/support/packet_fixture.hpp"

using namespace culvert;
using namespace culvert::dp;
using namespace culvert::dp::test;

namespace {
constexpr std::size_t kPackets = 180'000;

struct Tunnel {
  shm::InstallSa terms;
  Family inner;
  std::unique_ptr<SaPair> pair;
};

std::vector<Tunnel> tunnels(Worker& worker, std::mt19937_64& random) {
  std::vector<Tunnel> out;
  for (const auto& suite : kSuites)
    for (const bool udp : {false, true}) {
      const auto spi = static_cast<std::uint32_t>(0x5000 + out.size() * kCapacity + out.size() % kCapacity);
      // Every combination of families, in turn.
      const Family outer = out.size() % 3 == 0 ? Family::V6 : Family::V4, inner = out.size() % 5 < 2 ? Family::V6 : Family::V4;
      auto in = install(suite, Direction::Inbound, udp, spi, outer, inner),
           sealed = install(suite, Direction::Outbound, udp, spi, outer, inner);
      for (auto& b : in.encr_key) b = static_cast<std::uint8_t>(random());
      for (auto& b : in.integ_key) b = static_cast<std::uint8_t>(random());
      in.replay_window = 4096;
      sealed.encr_key = in.encr_key;
      sealed.integ_key = in.integ_key;
      out.push_back({in, inner, std::make_unique<SaPair>(worker, in, sealed)});
      if (!suite.esn) continue;
      // A little before one of the wraps, so that the upper half, which is not sent, changes on the way.
      const std::uint64_t start = ((1 + random() % 0xffff) << 32) - 50;
      out.back().pair->outbound->usage.packets = start;
      REQUIRE(out.back().pair->inbound->replay.commit(start) == ReplayVerdict::Fresh);
    }
  return out;
}
Bytes random_inner(Family family, std::mt19937_64& random) {
  const std::size_t head = family == Family::V4 ? 28 : 48, more = random() % 8 == 0 ? random() % 1453 : random() % 200;
  Bytes p = family == Family::V4 ? inner_packet(head + more) : inner_packet_v6(head + more);
  for (std::size_t i = head; i < p.size(); ++i) p[i] = static_cast<std::uint8_t>(random());
  return p;
}
Bytes wrap(const Tunnel& t, const Bytes& esp) {
  const std::size_t head = t.pair->outbound->header_bytes - kEspHeaderBytes;
  Bytes p(t.pair->outbound->header.begin(), t.pair->outbound->header.begin() + static_cast<std::ptrdiff_t>(head));
  p.insert(p.end(), esp.begin(), esp.end());
  const std::size_t ip = t.pair->outbound->ip_bytes;
  if (ip == kIpv4HeaderBytes) {
    store_be16(&p[2], static_cast<std::uint16_t>(p.size()));
    set_ipv4_checksum(p.data());
  } else {
    store_be16(&p[4], static_cast<std::uint16_t>(p.size() - ip));
  }
  if (t.pair->outbound->udp) store_be16(&p[ip + 4], static_cast<std::uint16_t>(p.size() - ip));
  return p;
}

void cross_check(CryptoArch arch, std::size_t count) {
  std::mt19937_64 random(static_cast<std::uint64_t>(arch) + 42);
  Worker worker(arch);
  const auto all = tunnels(worker, random);
  std::size_t checked = 0;
  while (checked < count) {
    // Ours seals a burst of everything; OpenSSL opens.
    std::vector<Bytes> inner, sealed;
    std::vector<const Tunnel*> of;
    for (std::size_t i = 0; i < kBurstMax; ++i) {
      of.push_back(&all[random() % all.size()]);
      inner.push_back(random_inner(of.back()->inner, random));
    }
    sealed = worker.run(inner, [&](Burst& burst) {
      for (std::size_t i = 0; i < burst.size(); ++i) {
        if (!parse_ip(*burst[i])) FAIL("malformed");
        burst[i]->outbound = of[i]->pair->outbound.get();
      }
      EspContext context = worker.context();
      esp_out(burst, context);
    });
    REQUIRE(sealed.size() == inner.size());
    std::vector<Bytes> theirs;
    for (std::size_t i = 0; i < sealed.size(); ++i) {
      const std::size_t at = of[i]->pair->outbound->header_bytes - kEspHeaderBytes;
      const std::uint64_t latest = of[i]->pair->outbound->usage.packets;
      const std::uint64_t number = latest - static_cast<std::uint32_t>(latest - load_be32(&sealed[i][at + 4]));
      const auto text = openssl_open(of[i]->terms, ByteView(sealed[i]).subspan(at), static_cast<std::uint32_t>(number >> 32));
      if (!text || *text != of[i]->pair->padded(inner[i], of[i]->inner == Family::V4 ? 4 : 41))
        FAIL("OpenSSL disagrees about a packet that we sealed, suite " << of[i]->terms.suite.to_string());
      // The same text under an IV of OpenSSL's, sent to us.
      Bytes iv(of[i]->pair->outbound->geometry.iv);
      for (auto& b : iv) b = static_cast<std::uint8_t>(random());
      const std::uint64_t sequence = of[i]->pair->inbound->replay.top() + 1 + i;
      theirs.push_back(wrap(*of[i], openssl_seal(of[i]->terms, sequence, iv, *text)));
      if (random() % 32 == 0) {  // one that is not authentic
        theirs.back().back() ^= 0x80;
        inner[i].clear();
      }
    }
    std::erase_if(inner, [](const Bytes& b) { return b.empty(); });
    const auto opened = worker.run(theirs, [&](Burst& burst) {
      for (std::size_t i = 0; i < burst.size(); ++i) {
        if (!parse_ip(*burst[i])) FAIL("malformed");
        burst[i]->inbound = of[i]->pair->inbound;
      }
      EspContext context = worker.context();
      esp_in(burst, context);
    });
    if (opened != inner) FAIL("we disagree about packets that OpenSSL sealed");
    checked += 2 * kBurstMax;
  }
  std::cout << worker.engine().describe() << ": " << checked << " packets agree with OpenSSL\n";
}
}  // namespace

TEST_CASE("OpenSSL agrees", "[esp][openssl][attack-J12]") {
  const char* wanted = std::getenv("CULVERT_OPENSSL_PACKETS");
  const std::size_t packets = wanted != nullptr ? std::stoul(wanted) : kPackets;
  cross_check(CryptoArch::Auto, packets * 2 / 3);
  for (const CryptoArch arch : {CryptoArch::Sse, CryptoArch::Avx, CryptoArch::Avx2, CryptoArch::Avx512})
    if (CryptoEngine::create(arch)) cross_check(arch, packets / 12);
}
