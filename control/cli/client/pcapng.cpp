#include "control/cli/client/pcapng.hpp"

#include <cstring>

#include "control/version.hpp"

namespace culvert::control::cli {

namespace {
constexpr std::uint32_t kSectionHeader = 0x0a0d0d0a, kInterface = 1, kEnhancedPacket = 6;
constexpr std::uint32_t kByteOrder = 0x1a2b3c4d;
constexpr std::uint16_t kLinkTypeRaw = 101;  // an IP packet of either version
constexpr std::uint16_t kEnd = 0, kComment = 1, kUserApplication = 4, kInterfaceName = 2, kTimeResolution = 9, kPacketFlags = 2;

/// A block's body in the making, in the byte order of this machine.
class Body {
 public:
  template <class T>
  Body& add(T v) {
    const auto* p = reinterpret_cast<const std::uint8_t*>(&v);
    bytes.insert(bytes.end(), p, p + sizeof v);
    return *this;
  }
  Body& padded(ByteView data) {
    bytes.insert(bytes.end(), data.begin(), data.end());
    bytes.resize((bytes.size() + 3) / 4 * 4);
    return *this;
  }
  Body& option(std::uint16_t code, ByteView value) {
    value = value.first(std::min<std::size_t>(value.size(), 0xffff));
    return add(code).add(static_cast<std::uint16_t>(value.size())).padded(value);
  }
  Body& end() { return add(kEnd).add(std::uint16_t{0}); }
  std::vector<std::uint8_t> bytes;
};
}  // namespace

PcapngWriter::PcapngWriter(std::ostream& out) : out_(out) {
  Body b;
  b.add(kByteOrder).add(std::uint16_t{1}).add(std::uint16_t{0}).add(std::int64_t{-1});
  b.option(kUserApplication, as_bytes(std::string("culvert ") + std::string(kVersion))).end();
  block(kSectionHeader, b.bytes);
}

std::uint32_t PcapngWriter::interface(const std::string& name) {
  const auto [it, fresh] = interfaces_.try_emplace(name, static_cast<std::uint32_t>(interfaces_.size()));
  if (!fresh) return it->second;
  constexpr std::uint8_t kNanoseconds = 9;
  Body b;
  b.add(kLinkTypeRaw).add(std::uint16_t{0}).add(std::uint32_t{0});
  b.option(kInterfaceName, as_bytes(name)).option(kTimeResolution, ByteView(&kNanoseconds, 1)).end();
  block(kInterface, b.bytes);
  return it->second;
}

void PcapngWriter::write(const Packet& p) {
  const std::uint32_t id = interface(p.interface);
  const std::uint32_t flags = p.inbound ? 1 : 2;
  Body b;
  b.add(id).add(static_cast<std::uint32_t>(p.time_ns >> 32)).add(static_cast<std::uint32_t>(p.time_ns));
  b.add(static_cast<std::uint32_t>(p.data.size())).add(p.length).padded(p.data);
  b.option(kPacketFlags, ByteView(reinterpret_cast<const std::uint8_t*>(&flags), sizeof flags));
  if (!p.comment.empty()) b.option(kComment, as_bytes(p.comment));
  b.end();
  block(kEnhancedPacket, b.bytes);
}

void PcapngWriter::block(std::uint32_t type, const std::vector<std::uint8_t>& body) {
  const auto length = static_cast<std::uint32_t>(body.size() + 12);
  Body b;
  b.add(type).add(length).padded(body).add(length);
  out_.write(reinterpret_cast<const char*>(b.bytes.data()), static_cast<std::streamsize>(b.bytes.size()));
  out_.flush();
}

}  // namespace culvert::control::cli
