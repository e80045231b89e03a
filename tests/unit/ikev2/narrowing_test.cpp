// Narrowing against a model that asks of each address, protocol and port by itself.
#include "control/ikev2/narrowing.hpp"

#include <random>

#include <catch2/catch.hpp>

#include "control/ikev2/payloads.hpp"

using namespace culvert;
using namespace culvert::ikev2;

namespace {
TrafficSelector ts(std::string_view text) {
  const auto parsed = TrafficSelector::parse(text);
  REQUIRE(parsed);
  return *parsed;
}
std::vector<TrafficSelector> all(std::initializer_list<std::string_view> texts) {
  std::vector<TrafficSelector> out;
  for (const auto text : texts) out.push_back(ts(text));
  return out;
}
std::string listed(const std::vector<TrafficSelector>& list) {
  std::string out;
  for (const TrafficSelector& s : list) out += (out.empty() ? "" : " ") + s.to_string();
  return out;
}

constexpr int kHosts = 6, kPorts = 5;
IpAddress host(int n, bool v6) { return *IpAddress::parse((v6 ? "2001:db8::" : "10.0.0.") + std::to_string(n)); }

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<std::uint32_t>(n)); }
  TrafficSelector selector() {
    TrafficSelector s;
    const bool v6 = below(4) == 0;
    const int a = below(kHosts), b = below(kHosts);
    s.first = host(std::min(a, b), v6);
    s.last = host(std::max(a, b), v6);
    constexpr std::array<std::uint8_t, 3> kProtocols{0, 6, 17};
    s.protocol = kProtocols[static_cast<std::size_t>(below(3))];
    if (s.protocol != 0 && below(2) == 0) {
      const int p = below(kPorts), q = below(kPorts);
      s.port_first = static_cast<std::uint16_t>(std::min(p, q));
      s.port_last = static_cast<std::uint16_t>(std::max(p, q));
    }
    return s;
  }
  std::vector<TrafficSelector> selectors(int most) {
    std::vector<TrafficSelector> out(static_cast<std::size_t>(below(most + 1)));
    for (TrafficSelector& s : out) s = selector();
    return out;
  }

 private:
  std::mt19937 engine_;
};

/// All packets there are in the model.
template <class F>
void each_packet(F&& f) {
  for (const bool v6 : {false, true})
    for (int h = 0; h < kHosts; ++h)
      for (const int protocol : {1, 6, 17})
        for (int port = 0; port <= kPorts; ++port) f(host(h, v6), static_cast<std::uint8_t>(protocol), static_cast<std::uint16_t>(port));
}
bool any_matches(const std::vector<TrafficSelector>& list, const IpAddress& a, std::uint8_t protocol, std::uint16_t port) {
  return std::ranges::any_of(list, [&](const TrafficSelector& s) { return s.matches(a, protocol, port); });
}
}  // namespace

TEST_CASE("narrowing: what both have, in our order", "[ikev2][narrowing][rfc7296-2.9]") {
  CHECK(listed(narrow(all({"0.0.0.0/0"}), all({"10.1.0.0/24"}))) == "10.1.0.0/24");
  CHECK(listed(narrow(all({"10.1.0.5", "10.1.0.0/24"}), all({"10.1.0.0/16"}))) == "10.1.0.0/24");  // the packet's selector comes first
  CHECK(listed(narrow(all({"10.3.0.0/24", "10.1.0.0/24"}), all({"10.1.0.0/16", "10.3.0.0/16"}))) == "10.1.0.0/24 10.3.0.0/24");
  CHECK(listed(narrow(all({"10.1.0.0/24[tcp]"}), all({"10.1.0.0/24[tcp/80]", "10.1.0.0/24[udp]"}))) == "10.1.0.0/24[tcp/80]");
  CHECK(listed(narrow(all({"10.1.0.0/24[udp/53]", "10.1.0.0/24[tcp/80]"}), all({"10.1.0.7"}))) ==
        "10.1.0.7/32[udp/53] 10.1.0.7/32[tcp/80]");
  CHECK(listed(narrow(all({"10.1.0.0-10.1.0.9"}), all({"10.1.0.8/30"}))) == "10.1.0.8/31");
  CHECK(listed(narrow(all({"::/0", "0.0.0.0/0"}), all({"10.1.0.0/24"}))) == "10.1.0.0/24");
  CHECK(narrow(all({"10.1.0.0/24"}), all({"10.2.0.0/24"})).empty());
  CHECK(narrow(all({"::/0"}), all({"0.0.0.0/0"})).empty());
  CHECK(narrow({}, all({"0.0.0.0/0"})).empty());
  CHECK(narrow(all({"0.0.0.0/0"}), {}).empty());
}

TEST_CASE("narrowing: a reply must lie within what was offered", "[ikev2][narrowing][rfc7296-2.9]") {
  const auto offered = all({"10.1.0.0/24[tcp]", "10.2.0.0/16"});
  CHECK(within(offered, offered));
  CHECK(within(all({"10.2.3.0/24", "10.1.0.7[tcp/80]"}), offered));
  CHECK_FALSE(within({}, offered));
  CHECK_FALSE(within(all({"10.2.3.0/24"}), {}));
  CHECK_FALSE(within(all({"10.2.3.0/24", "10.3.0.0/24"}), offered));
  CHECK_FALSE(within(all({"10.1.0.7"}), offered));
  CHECK_FALSE(within(all({"10.1.255.255-10.2.0.0"}), offered));
  CHECK_FALSE(within(all({"0.0.0.0/0"}), offered));
  CHECK_FALSE(within(all({"::/0"}), all({"0.0.0.0/0"})));
}

TEST_CASE("narrowing: ports without a protocol, and ranges that end before they begin, are nothing", "[ikev2][narrowing][rfc7296-3.13.1]") {
  const auto everything = all({"0.0.0.0/0"});
  TrafficSelector ports = everything[0];
  ports.port_first = ports.port_last = 80;
  CHECK(narrow(std::vector{ports}, everything).empty());
  CHECK_FALSE(within(std::vector{ports}, everything));
  TrafficSelector back = ts("10.1.0.1-10.1.0.9");
  std::swap(back.first, back.last);
  CHECK(narrow(std::vector{back}, everything).empty());
  CHECK_FALSE(within(std::vector{back}, everything));
  back = ts("10.1.0.1[tcp/10-20]");
  std::swap(back.port_first, back.port_last);
  CHECK(narrow(std::vector{back}, everything).empty());
  CHECK_FALSE(within(std::vector{back}, everything));
}

TEST_CASE("narrowing: the result fits into a payload", "[ikev2][narrowing][rfc7296-3.13]") {
  std::vector<TrafficSelector> many;
  for (unsigned n = 0; n < 255; ++n) many.push_back(ts("10.1." + std::to_string(n) + ".0/24"));
  auto ours = all({"10.1.0.0-10.1.255.127", "10.1.0.128/25", "10.1.1.0[tcp/80]"});
  CHECK(narrow(many, ours).size() == 255);
  ours.clear();
  for (const unsigned port : {1U, 2U, 3U}) ours.push_back(ts("10.1.0.0/16[tcp/" + std::to_string(port) + "]"));
  CHECK(narrow(many, ours).size() == kMaxSelectors);
}

TEST_CASE("narrowing: what has no partner on the other side goes", "[ikev2][narrowing][rfc7296-2.9]") {
  const auto rest = [](std::initializer_list<std::string_view> local, std::initializer_list<std::string_view> remote) {
    return paired({all(local), all(remote)}).to_string();
  };
  CHECK(rest({"10.1.0.0/24"}, {"10.2.0.0/24"}) == "10.1.0.0/24 - 10.2.0.0/24");
  CHECK(rest({"10.1.0.0/24", "::/0"}, {"10.2.0.0/24"}) == "10.1.0.0/24 - 10.2.0.0/24");
  CHECK(rest({"::/0", "10.1.0.0/24"}, {"10.2.0.0/24", "2001:db8::/32"}) == "::/0, 10.1.0.0/24 - 2001:db8::/32, 10.2.0.0/24");
  CHECK(rest({"10.1.0.0/24[tcp]", "10.1.0.0/24[udp]"}, {"10.2.0.0/24[udp]", "10.3.0.0/24[icmp]"}) == "10.1.0.0/24[udp] - 10.2.0.0/24[udp]");
  CHECK(rest({"10.1.0.0/24[tcp]"}, {"10.2.0.0/24"}) == "10.1.0.0/24[tcp] - 10.2.0.0/24");
  CHECK(paired({all({"::/0"}), all({"0.0.0.0/0"})}).empty());
  CHECK(paired({all({"0.0.0.0/0[tcp]"}), all({"0.0.0.0/0[udp]"})}).empty());
  CHECK(paired({}).empty());
}

TEST_CASE("narrowing: what there is no room for is left out, the first last", "[ikev2][narrowing][rfc7296-2.9]") {
  SelectorLists few{all({"10.1.0.0/24", "10.1.1.0/24"}), all({"10.2.0.0/24"})};
  const SelectorLists before = few;
  CHECK(cut(few, few.local[0], few.remote[0]) == 0);
  CHECK(few == before);
  SelectorLists many;
  for (unsigned n = 0; n < 40; ++n) many.local.push_back(ts("10.1." + std::to_string(n) + ".0/24"));
  for (unsigned n = 0; n < 3; ++n) many.remote.push_back(ts("10.2." + std::to_string(n) + ".0/24"));
  SelectorLists lists = many;
  CHECK(cut(lists, ts("10.1.30.7"), ts("10.2.2.9[tcp/80]")) == 43 - kMaxPairSelectors);
  CHECK(lists.size() == kMaxPairSelectors);
  CHECK(lists.remote.size() == 3);
  CHECK(lists.local.front() == ts("10.1.30.0/24"));
  CHECK(lists.remote.front() == ts("10.2.2.0/24"));
  for (unsigned n = 3; n < 40; ++n) many.remote.push_back(ts("10.2." + std::to_string(n) + ".0/24"));
  CHECK(cut(many, many.local[0], many.remote[0]) == 80 - kMaxPairSelectors);
  CHECK((many.local.size() == 8 && many.remote.size() == 8));
  // One family in front of the one list, the other in front of the other: two that go with each other stay.
  SelectorLists mixed;
  for (unsigned n = 0; n < 15; ++n) mixed.local.push_back(ts("10.1." + std::to_string(n) + ".0/24"));
  mixed.local.push_back(ts("2001:db8:1::/48"));
  for (unsigned n = 0; n < 15; ++n) mixed.remote.push_back(ts("2001:db8:2:" + std::to_string(n) + "::/64"));
  mixed.remote.push_back(ts("10.2.0.0/24"));
  CHECK(cut(mixed, ts("10.1.0.0/24"), ts("2001:db8:2::/48")) == 32 - mixed.size());
  CHECK_FALSE(mixed.empty());
  CHECK(mixed.size() <= kMaxPairSelectors);
}

TEST_CASE("selector lists: the same in whatever order, and what two of them share", "[ikev2][narrowing]") {
  const SelectorLists a{all({"10.1.0.0/24", "::/0"}), all({"10.2.0.0/24", "2001:db8::/32"})};
  CHECK(a == SelectorLists{all({"::/0", "10.1.0.0/24"}), all({"2001:db8::/32", "10.2.0.0/24"})});
  CHECK_FALSE(a == SelectorLists{all({"::/0"}), all({"2001:db8::/32", "10.2.0.0/24"})});
  CHECK(a.intersects({all({"10.1.0.7"}), all({"10.0.0.0/8"})}));
  CHECK_FALSE(a.intersects({all({"10.1.0.7"}), all({"2001:db8::/32"})}));  // of no packet
  CHECK_FALSE(a.intersects({all({"10.1.0.7"}), all({"10.3.0.0/16"})}));
  CHECK(a.more().locals == 1);
  CHECK(a.more().remote()[0] == ts("2001:db8::/32"));
}

TEST_CASE("narrowing agrees with a model that asks packet by packet", "[ikev2][narrowing][rfc7296-2.9]") {
  std::size_t some = 0, none = 0, inside = 0;
  for (std::uint32_t seed = 0; seed < 1500; ++seed) {
    Random random(seed);
    const auto offered = random.selectors(4), ours = random.selectors(4);
    const auto result = narrow(offered, ours);
    INFO("seed " << seed << ": " << listed(offered) << " by " << listed(ours) << " gives " << listed(result));
    std::size_t wrong = 0;
    each_packet([&](const IpAddress& a, std::uint8_t protocol, std::uint16_t port) {
      const bool both = any_matches(offered, a, protocol, port) && any_matches(ours, a, protocol, port);
      wrong += both != any_matches(result, a, protocol, port) ? 1U : 0U;
    });
    REQUIRE(wrong == 0);
    for (std::size_t i = 0; i < result.size(); ++i)
      for (std::size_t j = 0; j < result.size(); ++j) REQUIRE((i == j || !result[i].contains(result[j])));
    // Our own result is within both; another reply is if each of its selectors has no packet outside of one that was offered.
    REQUIRE((result.empty() || (within(result, offered) && within(result, ours))));
    (result.empty() ? none : some) += 1;
    const auto reply = random.selectors(2);
    bool model = !reply.empty();
    for (const TrafficSelector& one : reply)
      model = model && std::ranges::any_of(offered, [&](const TrafficSelector& s) {
                bool fits = true;
                each_packet([&](const IpAddress& a, std::uint8_t protocol, std::uint16_t port) {
                  fits = fits && (!one.matches(a, protocol, port) || s.matches(a, protocol, port));
                });
                return fits;
              });
    REQUIRE(within(reply, offered) == model);
    inside += model ? 1U : 0U;
  }
  CHECK(some > 300);
  CHECK(none > 100);
  CHECK(inside > 50);
}
