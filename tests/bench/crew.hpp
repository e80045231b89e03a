// Two workers against one, in the same run and by turns: on two SAs, each worker with its own, and on one SA whose crypto they share.
// Owns the rounds, the marks and their table. First it makes sure that there are two free cores.
#pragma once

#include <string>
#include <vector>

#include "tests/bench/report.hpp"

namespace culvert::bench {

struct CrewRow {
  std::string suite, size;
  Way way = Way::Out;
  double mean_bytes = 0;
  Quartiles one;       ///< cycles per packet of one worker
  Quartiles two, fat;  ///< of each round: how many times as fast as one worker
};

/// By how much two threads on the two CPUs do more than one does, of nothing but arithmetic: 2 where both are free.
double two_cores();
inline constexpr double kTwoFreeCores = 1.85;

CrewRow measure_crew(const std::string& suite, Way way, const std::string& size, unsigned rounds, dp::BufferPool& pool,
                     const std::string& folder);
/// Buffers that it needs.
std::size_t crew_buffers();

std::vector<Mark> marks(const std::vector<CrewRow>& rows);
void print_table(const std::vector<CrewRow>& rows, const Machine& machine, double cores);
void print_json(const std::vector<CrewRow>& rows, const Machine& machine, double cores);

}  // namespace culvert::bench
