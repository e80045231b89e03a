// Writing a pcapng file (draft-ietf-opsawg-pcapng): one section, an interface for each name, packets from their IP header on.
// Owns the layout of its blocks. Writes to a stream that is somebody else's; a file that is cut off anywhere between two blocks is whole.
#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::control::cli {

class PcapngWriter {
 public:
  /// Writes the section header.
  explicit PcapngWriter(std::ostream& out);

  struct Packet {
    std::string interface;  ///< its name; described when it is used first
    std::uint64_t time_ns = 0;
    bool inbound = false;
    std::uint32_t length = 0;  ///< as it was; `data` may be less
    ByteView data;
    std::string comment;
  };
  void write(const Packet& packet);
  /// False: the stream failed.
  [[nodiscard]] bool good() const { return out_.good(); }

 private:
  std::uint32_t interface(const std::string& name);
  void block(std::uint32_t type, const std::vector<std::uint8_t>& body);

  std::ostream& out_;
  std::map<std::string, std::uint32_t> interfaces_;
};

}  // namespace culvert::control::cli
