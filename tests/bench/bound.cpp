#include "tests/bench/bound.hpp"

#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <rte_ethdev.h>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/classify.hpp"
#include "dataplane/sad/suite.hpp"

namespace culvert::bench {

namespace {
using namespace culvert::dp;
constexpr std::uint32_t kEthernet = 14;

std::uint16_t port_named(const std::string& name) {
  std::uint16_t id = 0;
  if (rte_eth_dev_get_port_by_name(name.c_str(), &id) != 0) throw std::runtime_error("no device " + name);
  return id;
}

constexpr auto kFrameHeader = [] {
  std::array<std::uint8_t, kEthernet> out{};
  std::copy(kOtherMac.begin(), kOtherMac.end(), out.begin());
  std::copy(kOurMac.begin(), kOurMac.end(), out.begin() + 6);
  out[12] = 0x08;
  return out;
}();
constexpr auto kPadding = [] {
  std::array<std::uint8_t, 16> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i + 1);
  return out;
}();

void set_data(rte_mbuf* m, std::uint32_t offset, std::uint32_t length) {
  m->data_off = static_cast<std::uint16_t>(offset);
  m->data_len = static_cast<std::uint16_t>(length);
  m->pkt_len = length;
}
void transmit(std::uint16_t port, rte_mbuf** mbufs, std::uint16_t n) {
  if (rte_eth_tx_burst(port, 0, mbufs, n) != n) throw std::runtime_error("the device refused packets");
}
}  // namespace

Bound::Bound(const Case& c, RawCrypto& crypto, const std::string& lan, const std::string& wan)
    : case_(c), crypto_(crypto), lan_(port_named(lan)), wan_(port_named(wan)), sas_(c.sas) {
  const auto g = esp_geometry(c.suite);
  if (!g) throw std::runtime_error("the data plane does not run this suite");
  outer_ = kIpv4HeaderBytes + (c.udp ? kUdpHeaderBytes : 0);
  iv_ = g->iv;
  align_ = g->align;
  icv_ = g->icv;
  for (std::uint32_t i = 0; i < c.sas; ++i) {
    Sa& sa = sas_[i];
    sa = {};
    sa.header[0] = 0x45;
    sa.header[8] = 64;
    sa.header[9] = c.udp ? kProtocolUdp : kProtocolEsp;
    store_be32(&sa.header[12], kOurAddress);
    store_be32(&sa.header[16], peer_of_sa(i));
    for (std::size_t at = 0; at < kIpv4HeaderBytes; at += 2) sa.checksum += load_be16(&sa.header[at]);
    if (c.udp)
      for (const std::size_t at : {20, 22}) store_be16(&sa.header[at], kNatTPort);
    store_be32(&sa.header[outer_], spi_of_sa(i).value);
  }
}

void Bound::out() {
  std::array<rte_mbuf*, kBurstMax> mbufs;
  std::array<RawCrypto::Op, kBurstMax> ops;
  const std::uint16_t n = rte_eth_rx_burst(lan_, 0, mbufs.data(), mbufs.size());
  const std::uint32_t* const order = case_.order.data() + next_out_;
  if (case_.sas > 1)
    for (std::uint16_t i = 0; i < n; ++i) {
      __builtin_prefetch(&sas_[order[i]], 1);
      crypto_.prefetch(order[i], mbufs[i]->data_len);
    }
  for (std::uint16_t i = 0; i < n; ++i) {
    rte_mbuf* m = mbufs[i];
    Sa& sa = sas_[order[i]];
    std::uint8_t* const payload = rte_pktmbuf_mtod(m, std::uint8_t*) + kEthernet;
    const std::uint32_t inner = m->data_len - kEthernet;
    const std::uint32_t text = (inner + kEspTrailerBytes + align_ - 1) & ~(align_ - 1);
    const std::uint32_t pad = text - kEspTrailerBytes - inner;
    std::memcpy(payload + inner, kPadding.data(), kPadding.size());
    payload[inner + pad] = static_cast<std::uint8_t>(pad);
    payload[inner + pad + 1] = kProtocolIpip;
    std::uint8_t* const esp = payload - iv_ - kEspHeaderBytes;
    std::uint8_t* const ip = esp - outer_;
    const std::uint32_t total = outer_ + kEspHeaderBytes + iv_ + text + icv_;
    const std::uint64_t sequence = ++sa.sequence;
    if (case_.udp) {
      std::memcpy(ip, sa.header.data(), sa.header.size());
      store_be16(ip + 24, static_cast<std::uint16_t>(total - kIpv4HeaderBytes));
    } else {
      std::memcpy(ip, sa.header.data(), kIpv4HeaderBytes + kEspHeaderBytes);
    }
    store_be16(ip + 2, static_cast<std::uint16_t>(total));
    store_be16(ip + 4, static_cast<std::uint16_t>(sequence));
    std::uint32_t sum = sa.checksum + total + (sequence & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store_be16(ip + 10, static_cast<std::uint16_t>(~sum));
    store_be32(esp + 4, static_cast<std::uint32_t>(sequence));
    store_be64(esp + 8, sequence);
    if (iv_ == 16) store_be64(esp + 16, sequence);
    std::memcpy(ip - kEthernet, kFrameHeader.data(), kFrameHeader.size());
    set_data(m, m->data_off - (total - text - icv_), kEthernet + total);
    ops[i] = {esp, text, order[i]};
    bytes_ += total;
  }
  crypto_.run(std::span(ops).first(n), true);
  transmit(wan_, mbufs.data(), n);
  next_out_ += n;
}

void Bound::in() {
  std::array<rte_mbuf*, kBurstMax> mbufs;
  std::array<RawCrypto::Op, kBurstMax> ops;
  const std::uint16_t n = rte_eth_rx_burst(wan_, 0, mbufs.data(), mbufs.size());
  const std::uint32_t* const order = case_.order.data() + next_in_;
  const std::uint32_t front = kEthernet + outer_;
  for (std::uint16_t i = 0; i < n; ++i) {
    if (case_.sas > 1) crypto_.prefetch(order[i], mbufs[i]->data_len);
    std::uint8_t* const esp = rte_pktmbuf_mtod(mbufs[i], std::uint8_t*) + front;
    ops[i] = {esp, mbufs[i]->data_len - front - kEspHeaderBytes - iv_ - icv_, order[i]};
  }
  crypto_.run(std::span(ops).first(n), false);
  for (std::uint16_t i = 0; i < n; ++i) {
    std::uint8_t* const inner = ops[i].esp + kEspHeaderBytes + iv_;
    const std::uint32_t length = ops[i].text - kEspTrailerBytes - inner[ops[i].text - kEspTrailerBytes];
    std::memcpy(inner - kEthernet, kFrameHeader.data(), kFrameHeader.size());
    set_data(mbufs[i], mbufs[i]->data_off + outer_ + kEspHeaderBytes + iv_, kEthernet + length);
    bytes_ += length;
  }
  transmit(lan_, mbufs.data(), n);
  next_in_ += n;
}

void Bound::poll() {
  if (goes_out(case_.way)) out();
  if (comes_in(case_.way)) in();
  if (std::max(next_out_, next_in_) == case_.order.size()) next_out_ = next_in_ = 0;
}

void Bound::forward() {
  std::array<rte_mbuf*, kBurstMax> mbufs;
  const auto pass = [&](std::uint16_t from, std::uint16_t to) {
    transmit(to, mbufs.data(), rte_eth_rx_burst(from, 0, mbufs.data(), mbufs.size()));
  };
  if (goes_out(case_.way)) pass(lan_, wan_);
  if (comes_in(case_.way)) pass(wan_, lan_);
}

std::uint64_t Bound::take_bytes() { return std::exchange(bytes_, 0); }

}  // namespace culvert::bench
