// What the packet benchmark says: rows, the marks that they are held against, and both as a table or as JSON.
// Owns medians and quartiles; measures nothing.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "tests/bench/path.hpp"

namespace culvert::bench {

/// Of a measure over the rounds.
struct Quartiles {
  double low = 0, median = 0, high = 0;
  static Quartiles of(std::vector<double> values);  ///< at least one
};

struct Row {
  std::string suite, size;
  Way way = Way::Out;
  std::uint32_t sas = 1, policies = 1;
  double mean_bytes = 0;
  bool has_evp = false;
  std::array<Quartiles, kKinds> cycles;  ///< per packet, by Kind
  std::array<Quartiles, kKinds> ratio;   ///< of each round: cycles of that kind by cycles of the worker; how near the worker comes to it
  Quartiles outside;                     ///< of each round: cycles of the worker less those of IPsec-MB alone

  bool has_kept = false;
  Quartiles kept;  ///< share of the speed with few SAs and policies that is left beyond what the bound loses, whose keys miss caches, too

  /// For each Kind cycles per packet, round by round.
  using Rounds = std::array<std::vector<double>, kKinds>;
  void take(const Rounds& rounds);
  /// `few`: of the same case with few SAs and policies, in the same rounds.
  void compare(const Rounds& rounds, const Rounds& few);
  [[nodiscard]] const Quartiles& of(Kind k) const { return cycles[static_cast<std::size_t>(k)]; }
  [[nodiscard]] const Quartiles& ratio_to(Kind k) const { return ratio[static_cast<std::size_t>(k)]; }
};

/// What must be reached, and what was.
struct Mark {
  std::string what;
  double wanted = 0, got = 0;
  double bound = 1;  ///< what the bound reaches
  [[nodiscard]] bool met() const { return got >= wanted; }
};
std::vector<Mark> marks(const std::vector<Row>& rows);

struct Machine {
  double tsc_ghz = 0;
  std::string crypto;
  bool first = false;      ///< it ran at real-time priority
  bool hugepages = false;  ///< DPDK's memory lies on such
  bool queued = false;     ///< packets lay in the queues
  [[nodiscard]] std::string circumstances() const {
    return std::string(hugepages ? "hugepages; " : "small pages; ") + (first ? "real-time priority; " : "");
  }
};
void print_table(const std::vector<Row>& rows, const Machine& machine);
void print_json(const std::vector<Row>& rows, const Machine& machine);

}  // namespace culvert::bench
