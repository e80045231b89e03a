// A responder with many configured peers, and initiators that come one after the other: an IKE SA and a pair each, with real cryptography
// in one process. Owns both engines, a clock of its own, and the account of what the responder's side costs. No socket, thread or data
// plane.
//
//   peer (a new engine, thrown away) --datagrams--> responder's engine --jobs--> Diffie-Hellman       | only the time between the bars
//                                    <--datagrams--                                                   | is the responder's
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/engine.hpp"

namespace culvert::bench {

/// Nanoseconds of one thread's CPU time.
std::uint64_t cpu_ns();

/// What is negotiated, in the words of the configuration.
struct Suites {
  std::uint8_t version = 1;  ///< of IKE
  std::string ike, esp;
};
/// The gateway's configuration with one connection a peer, and that of one peer.
config::GatewayConfig responder_config(std::size_t peers, const Suites& suites);
config::GatewayConfig peer_config(std::size_t peer, const Suites& suites);

/// What the engine needs of its shell, as culvertd gives it.
class Shell final : public ike::Services {
 public:
  explicit Shell(std::string secret) : secret_(std::move(secret)) {}
  void random(MutableByteView out) override;
  std::optional<Spi> allocate_spi() override { return Spi{++last_spi_}; }
  void release_spi(Spi) override {}
  std::expected<SecretBytes, std::string> secret(const std::string&) override { return SecretBytes(as_bytes(secret_)); }
  std::expected<SecretBytes, std::string> ppk(const std::string&) override { return std::unexpected("none"); }
  std::expected<SecretBytes, std::string> xauth_password(const std::string&) override { return std::unexpected("none"); }
  std::expected<ike::AuthMethod, std::string> signing_method(const std::string&) override { return std::unexpected("none"); }
  std::vector<Bytes> certificates(const std::string&) override { return {}; }
  std::vector<Bytes> authorities(const std::string&) override { return {}; }
  std::vector<Bytes> authority_keys(const std::string&) override { return {}; }

 private:
  std::string secret_;
  std::uint32_t last_spi_ = 0x1000;
};

struct Cost {
  std::uint64_t engine_ns = 0, dh_ns = 0;  ///< of the responder
  std::uint64_t datagrams = 0;             ///< that it took in
};

class Negotiations {
 public:
  Negotiations(std::size_t peers, Suites suites);
  /// The next peer's tunnel, to its end. Throws std::runtime_error where it does not come up.
  void next();
  /// The clock runs on with nothing happening: what is left of finished exchanges goes away.
  void rest(std::chrono::seconds time);
  [[nodiscard]] std::size_t done() const { return next_; }
  [[nodiscard]] const Cost& cost() const { return cost_; }

 private:
  struct Side {
    config::GatewayConfig config;
    Shell shell;
    std::unique_ptr<ike::Engine> engine;
    Side(config::GatewayConfig c, std::string secret);
  };
  /// Performs what `from` wants; datagrams go to the other side's queue.
  bool perform(Side& from, std::vector<ike::Datagram>& out, Cost* account);

  Suites suites_;
  Side responder_;
  std::size_t next_ = 0;
  ike::TimePoint now_{std::chrono::seconds(1000)};
  Cost cost_;
};

}  // namespace culvert::bench
