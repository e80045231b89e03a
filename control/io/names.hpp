// Names of hosts and their addresses. The system's look-up blocks, for as long as a name server stays silent: it is done in threads of
// its own, so that the loop never waits and one bad name holds up few others.
// Owns the threads, what was learnt and how long it holds. Asks for a name once at a time, for all who want it.
#pragma once

#include <chrono>
#include <exception>
#include <expected>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/thread_pool.hpp>

namespace culvert::control::io {

class Names {
 public:
  using Addresses = std::expected<std::vector<boost::asio::ip::address>, std::string>;
  using Lookup = std::function<Addresses(const std::string& host)>;  ///< from any thread; may block

  using Failed = std::function<void(std::exception_ptr)>;  ///< hears, in another thread, what a look-up has thrown; must not throw

  /// Without `failed`, what a look-up throws (memory ran out) ends the process.
  explicit Names(boost::asio::io_context& context, Lookup lookup = ask_system, Failed failed = {});
  ~Names();  ///< waits for the look-ups that run
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  /// `done` is called once, later, in the thread of the context. `host`: a name or an address.
  void resolve(const std::string& host, std::function<void(Addresses)> done);

  static Addresses ask_system(const std::string& host);

  static constexpr std::size_t kThreads = 4;
  static constexpr std::size_t kMaxNames = 256;
  static constexpr std::chrono::seconds kPatience{4};    ///< of those who ask: a name that takes longer is a bad one
  static constexpr std::chrono::seconds kHolds{60};      ///< an answer
  static constexpr std::chrono::seconds kBadHolds{300};  ///< that a name took too long

 private:
  using Clock = std::chrono::steady_clock;
  struct Name {
    bool busy = false;
    Clock::time_point since{}, until{};
    Addresses known = std::unexpected(std::string());
    std::vector<std::function<void(Addresses)>> waiting{};
  };
  void learnt(const std::string& host, const Addresses& addresses);

  boost::asio::io_context& context_;
  Lookup lookup_;
  Failed failed_;
  std::map<std::string, Name> names_;
  boost::asio::thread_pool pool_{kThreads};
};

}  // namespace culvert::control::io
