// Which virtual address is whose, of peers of either IKE version.
// Owns the pools' books: an address has one holder at a time, named by its proved identity. Knows no SA: somebody else says when a
// holder comes and goes. A holder has at most one address of a pool, and so of each family. Bounded by the size of the pools: what is
// remembered of former holders is one identity an address.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/config/config.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::ike {

class Leases {
 public:
  explicit Leases(const std::vector<config::Pool>& pools);

  struct Granted {
    const config::Pool* pool = nullptr;
    IpAddress address;
  };
  /// An address of this family for `identity`: the one that it holds; else the one that it had; else the one that it wants, if it may be
  /// had; else one whose place follows from the identity, so that a gateway that restarts gives the same peers the same addresses; an
  /// address that was nobody's goes before one that was somebody's. nullopt: none is free.
  std::optional<Granted> acquire(std::span<const std::string> pools, const std::string& identity, const std::optional<IpAddress>& wanted,
                                 Family family = Family::V4);
  /// This very address of these pools for `identity`, whatever it has had. Error: why it cannot be had, for an operator.
  std::expected<Granted, std::string> take(std::span<const std::string> pools, const std::string& identity, const IpAddress& address);
  /// Takes an address of these pools for `identity` if it is nobody's. False: it is somebody's, or of no such pool.
  bool reserve(std::span<const std::string> pools, const std::string& identity, const IpAddress& address);
  /// What `from` holds is `to`'s. False: `to` has an address in that pool already, or there is nothing.
  bool rename(const std::string& from, const std::string& to);
  /// The holder is gone. The address stays its own until somebody else needs it.
  void release(const std::string& identity);
  [[nodiscard]] std::vector<PoolInfo> view() const;
  [[nodiscard]] std::size_t online() const;

 private:
  struct Entry {
    std::string identity;
    bool online = false;
    std::uint64_t released = 0;  ///< the higher, the later
  };
  struct Book {
    const config::Pool* pool = nullptr;
    std::uint64_t size = 0;
    std::map<std::uint64_t, Entry> entries;  ///< by place in the pool
    std::map<std::string, std::uint64_t> by_identity;
    std::size_t online = 0;
  };
  [[nodiscard]] static IpAddress address(const Book& book, std::uint64_t place);
  [[nodiscard]] static std::optional<std::uint64_t> place(const Book& book, const IpAddress& address);
  std::vector<Book*> allowed(std::span<const std::string> pools);
  static Granted give(Book& book, std::uint64_t place, const std::string& identity);
  static std::optional<std::uint64_t> unused(const Book& book, const std::string& identity);
  static std::optional<std::uint64_t> longest_left(const Book& book);

  std::vector<Book> books_;
  std::uint64_t releases_ = 0;
};

}  // namespace culvert::ike
