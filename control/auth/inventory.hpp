// The certificates that connections use, as an operator looks at them (culvert list-certs, metrics).
// Owns types only: no library shows here.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace culvert::control::auth {

struct CertificateInfo {
  std::string connection;
  std::string role;  ///< "own", "intermediate" (ours, behind it), "authority" or "peer" (both trusted)
  std::string subject, issuer, serial;
  std::vector<std::string> names;  ///< "DNS gw.example", "email ops@gw.example", "IP 10.9.0.1"
  std::string key;                 ///< "RSA 2048", "ECDSA 256"
  std::chrono::sys_seconds not_before, not_after;
};
/// Files that cannot be used, and why; what they held before may still be in use.
struct CertificateProblem {
  std::string connection;
  std::string side;  ///< "local" or "remote"
  std::string message;
};
struct Inventory {
  std::vector<CertificateInfo> certificates;
  std::vector<CertificateProblem> problems;
};

}  // namespace culvert::control::auth
