#include "control/ike/leases.hpp"

#include <algorithm>

namespace culvert::ike {

namespace {
/// FNV-1a: the same in each process that this program ever runs in.
std::uint64_t place_of(const std::string& identity) {
  std::uint64_t h = 14695981039346656037ULL;
  for (const char c : identity) h = (h ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
  return h;
}
}  // namespace

Leases::Leases(const std::vector<config::Pool>& pools) {
  for (const config::Pool& p : pools) {
    Book book;
    book.pool = &p;
    if (const auto last = p.addrs.last.places_behind(p.addrs.first)) book.size = *last + 1;
    books_.push_back(std::move(book));
  }
}

IpAddress Leases::address(const Book& book, std::uint64_t place) { return book.pool->addrs.first.plus(place); }

std::optional<std::uint64_t> Leases::place(const Book& book, const IpAddress& address) {
  const auto out = address.places_behind(book.pool->addrs.first);
  return out && *out < book.size ? out : std::nullopt;
}

Leases::Granted Leases::give(Book& book, std::uint64_t place, const std::string& identity) {
  Entry& e = book.entries[place];
  if (!e.identity.empty() && e.identity != identity) book.by_identity.erase(e.identity);
  if (!e.online) ++book.online;
  e = {identity, true, 0};
  book.by_identity[identity] = place;
  return {book.pool, address(book, place)};
}

std::optional<std::uint64_t> Leases::unused(const Book& book, const std::string& identity) {
  if (book.entries.size() >= book.size) return std::nullopt;
  std::uint64_t place = place_of(identity) % book.size;
  while (book.entries.contains(place)) place = (place + 1) % book.size;
  return place;
}

std::optional<std::uint64_t> Leases::longest_left(const Book& book) {
  if (book.online >= book.size) return std::nullopt;
  std::optional<std::uint64_t> out;
  for (const auto& [place, e] : book.entries)
    if (!e.online && (!out || e.released < book.entries.at(*out).released)) out = place;
  return out;
}

std::vector<Leases::Book*> Leases::allowed(std::span<const std::string> pools) {
  std::vector<Book*> out;
  for (const std::string& name : pools)
    for (Book& book : books_)
      if (book.pool->name == name && book.size > 0) out.push_back(&book);
  return out;
}

std::optional<Leases::Granted> Leases::acquire(std::span<const std::string> pools, const std::string& identity,
                                               const std::optional<IpAddress>& wanted, Family family) {
  std::vector<Book*> open = allowed(pools);
  std::erase_if(open, [&](const Book* book) { return book->pool->addrs.first.family != family; });
  for (Book* book : open)
    if (const auto it = book->by_identity.find(identity); it != book->by_identity.end()) return give(*book, it->second, identity);
  if (wanted && !wanted->is_unspecified())
    for (Book* book : open)
      if (const auto p = place(*book, *wanted); p && !book->entries.contains(*p)) return give(*book, *p, identity);
  for (Book* book : open)
    if (const auto p = unused(*book, identity)) return give(*book, *p, identity);
  for (Book* book : open)
    if (const auto p = longest_left(*book)) return give(*book, *p, identity);
  return std::nullopt;
}

std::expected<Leases::Granted, std::string> Leases::take(std::span<const std::string> pools, const std::string& identity,
                                                         const IpAddress& address) {
  for (Book* book : allowed(pools)) {
    const auto p = place(*book, address);
    if (!p) continue;
    const auto there = book->entries.find(*p);
    if (there != book->entries.end() && there->second.online && there->second.identity != identity)
      return std::unexpected("which " + there->second.identity + " has");
    if (const auto other = book->by_identity.find(identity); other != book->by_identity.end() && other->second != *p) {
      if (book->entries.at(other->second).online) --book->online;
      book->entries.erase(other->second);
      book->by_identity.erase(other);
    }
    return give(*book, *p, identity);
  }
  return std::unexpected("which is in no pool of the connection");
}

bool Leases::reserve(std::span<const std::string> pools, const std::string& identity, const IpAddress& address) {
  for (Book* book : allowed(pools)) {
    const auto p = place(*book, address);
    if (!p) continue;
    const auto there = book->entries.find(*p);
    if (there != book->entries.end() && there->second.identity != identity) return false;
    give(*book, *p, identity);
    return true;
  }
  return false;
}

bool Leases::rename(const std::string& from, const std::string& to) {
  for (Book& book : books_) {
    const auto it = book.by_identity.find(from);
    if (it == book.by_identity.end()) continue;
    if (book.by_identity.contains(to)) return false;
    give(book, it->second, to);
    return true;
  }
  return false;
}

void Leases::release(const std::string& identity) {
  for (Book& book : books_) {
    const auto it = book.by_identity.find(identity);
    if (it == book.by_identity.end()) continue;
    Entry& e = book.entries.at(it->second);
    if (e.online) --book.online;
    e.online = false;
    e.released = ++releases_;
  }
}

std::vector<PoolInfo> Leases::view() const {
  std::vector<PoolInfo> out;
  for (const Book& book : books_) {
    PoolInfo info{book.pool->name, book.size, book.online, {}};
    for (const auto& [place, e] : book.entries) info.leases.push_back({address(book, place), e.identity, e.online});
    out.push_back(std::move(info));
  }
  return out;
}

std::size_t Leases::online() const {
  std::size_t n = 0;
  for (const Book& book : books_) n += book.online;
  return n;
}

}  // namespace culvert::ike
