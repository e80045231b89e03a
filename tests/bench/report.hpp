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
  std::uint32_t sas = 1;
  double mean_bytes = 0;
  bool has_evp = false;
  std::array<Quartiles, kKinds> cycles;  ///< per packet, by Kind
  std::array<Quartiles, kKinds> ratio;   ///< of each round: cycles of that kind by cycles of the worker; how near the worker comes to it
  Quartiles outside;                     ///< of each round: cycles of the worker less those of IPsec-MB alone

  /// `rounds`: for each Kind cycles per packet, round by round.
  void take(const std::array<std::vector<double>, kKinds>& rounds);
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
  bool first = false;  ///< it ran at real-time priority
};
void print_table(const std::vector<Row>& rows, const Machine& machine);
void print_json(const std::vector<Row>& rows, const Machine& machine);

}  // namespace culvert::bench
