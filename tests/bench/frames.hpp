// The frames of a pcap file. Knows nothing of the data plane, so that whoever is measured beside it can be fed with the same.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <pcap/pcap.h>

namespace culvert::bench {

/// Of no file ("") none. Throws std::runtime_error.
inline std::vector<std::vector<std::uint8_t>> frames_of(const std::string& file) {
  if (file.empty()) return {};
  std::array<char, PCAP_ERRBUF_SIZE> why{};
  pcap_t* in = pcap_open_offline(file.c_str(), why.data());
  if (in == nullptr) throw std::runtime_error(why.data());
  std::vector<std::vector<std::uint8_t>> out;
  pcap_pkthdr* header = nullptr;
  const std::uint8_t* data = nullptr;
  while (pcap_next_ex(in, &header, &data) == 1) out.emplace_back(data, data + header->caplen);
  pcap_close(in);
  return out;
}

}  // namespace culvert::bench
