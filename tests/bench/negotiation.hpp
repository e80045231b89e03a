// A responder with many configured peers, and initiators that come one after the other: an IKE SA and a pair each, and rekeys of what the
// latest has, with real cryptography in one process. Owns both engines, a clock of its own, and the account of what the responder's side
// costs. No socket, thread or data plane.
//
//   peer (a new engine, thrown away) --datagrams--> responder's engine --jobs--> Diffie-Hellman, signatures   | only the time between the
//                                    <--datagrams--                                                           | bars is the responder's
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/engine.hpp"
#include "tests/bench/signer.hpp"

namespace culvert::bench {

/// Nanoseconds of one thread's CPU time.
std::uint64_t cpu_ns();

/// What is negotiated, in the words of the configuration.
struct Suites {
  std::uint8_t version = 1;  ///< of IKE
  std::string ike, esp;
  /// Both sides sign: the folder of ca.pem, gateway.pem, gateway.key, peer.key and the peers' peer-N.pem. Empty: a pre-shared key.
  std::string certificates{};
};
/// The gateway's configuration with one connection a peer, and that of one peer.
config::GatewayConfig responder_config(std::size_t peers, const Suites& suites);
config::GatewayConfig peer_config(std::size_t peer, const Suites& suites);

/// What the engine needs of its shell, as culvertd gives it.
class Shell final : public ike::Services {
 public:
  /// `signer`: null where nobody signs.
  explicit Shell(std::string secret, Signer* signer = nullptr) : secret_(std::move(secret)), signer_(signer) {}
  void random(MutableByteView out) override;
  std::optional<Spi> allocate_spi() override { return Spi{++last_spi_}; }
  void release_spi(Spi) override {}
  std::expected<SecretBytes, std::string> secret(const std::string&) override { return SecretBytes(as_bytes(secret_)); }
  std::expected<SecretBytes, std::string> ppk(const std::string&) override { return std::unexpected("none"); }
  std::expected<SecretBytes, std::string> xauth_password(const std::string&) override { return std::unexpected("none"); }
  std::expected<ike::AuthMethod, std::string> signing_method(const std::string& connection) override {
    if (!signer_) return std::unexpected("none");
    return signer_->authenticator().signing_method(connection);
  }
  std::vector<Bytes> certificates(const std::string& c) override { return signer_ ? signer_->authenticator().certificates(c) : none(); }
  std::vector<Bytes> authorities(const std::string& c) override { return signer_ ? signer_->authenticator().authorities(c) : none(); }
  std::vector<Bytes> authority_keys(const std::string& c) override { return signer_ ? signer_->authenticator().authority_keys(c) : none(); }

 private:
  static std::vector<Bytes> none() { return {}; }
  std::string secret_;
  Signer* signer_;
  std::uint32_t last_spi_ = 0x1000;
};

struct Cost {
  std::uint64_t engine_ns = 0, dh_ns = 0,
                signature_ns = 0;  ///< of the responder; signatures: its own, and the peer's with its certificates
  std::uint64_t datagrams = 0;     ///< that it took in
};

class Negotiations {
 public:
  Negotiations(std::size_t peers, Suites suites);
  /// The next peer's tunnel, to its end. Throws std::runtime_error where it does not come up.
  void next();
  /// The latest peer replaces its pair, or its IKE SA, and all that it needs for it goes. Throws where that does not come about.
  void rekey(bool ike);
  /// The clock runs on with nothing happening: what is left of finished exchanges goes away.
  void rest(std::chrono::seconds time);
  [[nodiscard]] std::size_t done() const { return next_; }
  [[nodiscard]] const Cost& cost() const { return cost_; }

 private:
  struct Side {
    config::GatewayConfig config;
    std::unique_ptr<Signer> signer;
    Shell shell;
    std::unique_ptr<ike::Engine> engine;
    Side(config::GatewayConfig c, const Suites& suites);
  };
  /// Performs what `from` wants; datagrams go to the other side's queue.
  bool perform(Side& from, std::vector<ike::Datagram>& out, Cost* account);
  /// Until neither has anything to say.
  void exchange();

  Suites suites_;
  Side responder_;
  std::unique_ptr<Side> peer_;  ///< the latest
  std::size_t next_ = 0;
  ike::TimePoint now_{std::chrono::seconds(1000)};
  Cost cost_;
};

}  // namespace culvert::bench
