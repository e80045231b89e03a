// Memory that is not there (attack O5): the n-th allocation within an engine's step fails, for every n of a negotiation. An engine promises
// nothing after it has thrown: as culvertd does (Loop::run), its process ends, and another one takes over what the data plane has. Owns
// this program's operator new; only steps of the engine are ever refused memory.
#include <cstdlib>
#include <new>

#include <catch2/catch.hpp>
#include <openssl/crypto.h>

#include "control/crypto/hash.hpp"
#include "tests/exchange/remote_access.hpp"
#include "tests/exchange/world.hpp"

namespace {

long living = 0;  ///< allocations that were not given back

/// The allocation that fails, counted while a step runs; 0: none.
struct Shortage {
  bool in_step = false;
  bool in_library = false;  ///< OpenSSL's allocations count, and ours do not
  unsigned long counted = 0, fails_at = 0;
  bool strikes(bool library) { return in_step && in_library == library && ++counted == fails_at; }
} shortage;

void* take(std::size_t size) {
  if (shortage.strikes(false)) return nullptr;
  ++living;
  return std::malloc(size == 0 ? 1 : size);
}
void give_back(void* p) {
  if (p != nullptr) --living;
  std::free(p);
}
void* take_or_throw(std::size_t size) {
  if (void* p = take(size)) return p;
  throw std::bad_alloc();
}

void* library_malloc(std::size_t size, const char*, int) { return shortage.strikes(true) ? nullptr : std::malloc(size); }
void* library_realloc(void* p, std::size_t size, const char*, int) { return shortage.strikes(true) ? nullptr : std::realloc(p, size); }
void library_free(void* p, const char*, int) { std::free(p); }
/// Only possible before the library has allocated anything.
const bool library_is_ours = CRYPTO_set_mem_functions(library_malloc, library_realloc, library_free) == 1;

}  // namespace

void* operator new(std::size_t size) { return take_or_throw(size); }
void* operator new[](std::size_t size) { return take_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { give_back(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { give_back(p); }

using namespace culvert;
using namespace culvert::test;

namespace {

/// Refuses the n-th allocation of all steps of both hosts, once. The host that it hit comes back as a new culvertd.
class Scarcity {
 public:
  Scarcity(World& world, unsigned long nth, bool library) {
    shortage = {.in_library = library, .fails_at = nth};
    for (const auto& host : world.hosts)
      host->around = [this, h = host.get()](const std::function<void()>& step) {
        shortage.in_step = true;
        try {
          step();
          shortage.in_step = false;
          return;
        } catch (const std::bad_alloc&) {
        } catch (const crypto::LibraryError&) {
          if (!shortage.in_library) throw;
        }
        shortage.in_step = false;
        died_ = true;
        h->restart();
      };
  }
  ~Scarcity() { shortage = {}; }
  Scarcity(const Scarcity&) = delete;
  Scarcity& operator=(const Scarcity&) = delete;
  /// Somebody's step was refused its memory.
  [[nodiscard]] static bool struck() { return shortage.counted >= shortage.fails_at; }
  [[nodiscard]] bool died() const { return died_; }

 private:
  bool died_ = false;
};

/// Main Mode with a pre-shared key.
void with_secret(World& world) { two_sites(world); }
/// Main Mode with signatures, its messages in fragments.
void with_signatures(World& world) {
  Pair pair = two_signing_sites(world, ike::AuthMethod::RsaSignature);
  pair.a.chain_size = pair.b.chain_size = 4000;
}

/// Every how many-th allocation is refused; CULVERT_EVERY_ALLOCATION is the long form.
unsigned long stride() { return std::getenv("CULVERT_EVERY_ALLOCATION") != nullptr ? 1 : 3; }

/// One negotiation for each n until all of its allocations have been refused once. `judge` sees each of them; returns how many there were.
unsigned long each_allocation(const std::function<void(World&)>& make, bool library,
                              const std::function<void(World&, const Scarcity&)>& judge) {
  for (unsigned long nth = 0;; nth += stride()) {  // 0: nothing fails, which fills the tables that are made once
    INFO("allocation " << nth);
    World world;
    make(world);
    Scarcity scarcity(world, nth == 0 ? ~0UL : nth, library);
    for (const auto& host : world.hosts) host->start();
    judge(world, scarcity);
    if (nth != 0 && !Scarcity::struck()) return nth - 1;
  }
}

/// Within the time in which dead-peer detection ends what the other one's death left behind.
void comes_up(World& world, const Scarcity&) {
  Host &a = *world.hosts[0], &b = *world.hosts[1];
  const auto settled = [&] {
    const PlaneSa *out = a.current_out("net"), *back = b.current_out("net");
    return out && back && b.inbound.contains(out->sa.spi.value) && a.inbound.contains(back->sa.spi.value) &&
           b.inbound.at(out->sa.spi.value).sa.encr_key == out->sa.encr_key &&
           a.inbound.at(back->sa.spi.value).sa.encr_key == back->sa.encr_key && a.live_pairs() == 1 && b.live_pairs() == 1 &&
           a.established() == 1 && b.established() == 1 && a.up() && b.up();
  };
  if (!world.run_until(settled, 600s)) FAIL(a.live_pairs() << " and " << b.live_pairs() << " pairs\n" << a.transcript() << b.transcript());
}

void lets_nobody_in(World& world, const Scarcity&) {
  world.run(20s);
  for (const auto& host : world.hosts)
    if (!host->inbound.empty() || !host->outbound.empty() || host->established() != 0) FAIL(host->transcript());
}

}  // namespace

TEST_CASE("whichever allocation fails, the next culvertd negotiates, and one pair of SAs is left", "[allocation][attack-O5]") {
  const unsigned long count = each_allocation(GENERATE(as<std::function<void(World&)>>(), with_secret, with_signatures), false, comes_up);
  CHECK(count > 1000);
}

TEST_CASE("whichever allocation fails, who has another secret stays out", "[allocation][attack-O5]") {
  const unsigned long count = each_allocation(
      [](World& world) {
        with_secret(world);
        world.hosts[0]->secrets["c"] = "another";
      },
      false, lets_nobody_in);
  CHECK(count > 300);
}

TEST_CASE("whichever allocation of OpenSSL fails, the negotiation is taken up again", "[allocation][attack-O5]") {
  REQUIRE(library_is_ours);
  const unsigned long count = each_allocation(with_secret, true, comes_up);
  CHECK(count > 100);
}

TEST_CASE("an engine that is rekeyed, visited and pestered has no more in memory after a day than after an hour",
          "[allocation][attack-O7]") {
  World world;
  auto [a, b] = two_sites(world, [](auto& ca, auto& cb) {
    for (auto* c : {&ca, &cb}) {
      auto& connection = c->connections[0];
      connection.rekey_time = 600s;
      connection.children[0].rekey_time = 200s;
      connection.children.push_back(child("visits", c == &ca ? "10.3.0.0/24" : "10.4.0.0/24", c == &ca ? "10.4.0.0/24" : "10.3.0.0/24",
                                          "aes128gcm16", config::StartAction::None));
    }
  });
  a.start();
  b.start();
  world.begin_traffic();
  unsigned stranger = 0;
  const auto hour = [&] {
    for (int i = 0; i < 60; ++i) {
      (void)a.engine->initiate(world.now, "c", "visits");
      a.perform();
      world.run(20s);
      Host& ends = i % 2 == 0 ? a : b;
      (void)ends.engine->terminate(world.now, "c", i % 10 == 9 ? "" : "visits");
      ends.perform();
      for (int n = 0; n < 10; ++n) {
        Bytes junk(28, static_cast<std::uint8_t>(++stranger));
        const Endpoint us{b.config.connections[0].local_addrs[0], 500}, them{IpAddress::v4(0x0b000000 + stranger), 500};
        b.step([&](ike::Engine& e) { e.on_datagram(world.now, {us, them, junk}); });
      }
      world.run(40s);
      std::vector<std::string>().swap(world.gaps);
      for (Host* h : {&a, &b}) {
        std::vector<ike::Report>().swap(h->log);
        std::vector<TimePoint>().swap(h->times);
      }
    }
    return living;
  };
  const long first = hour(), second = hour();
  long last = 0;
  for (int i = 2; i < 24; ++i) last = hour();
  INFO(first << ", " << second << " allocations are held after one and two hours");
  CHECK(last < second + second / 10);
}
