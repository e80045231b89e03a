// The sockets towards RADIUS servers, on the loopback interface.
#include "control/io/radius_sockets.hpp"

#include <array>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/udp.hpp>
#include <catch2/catch.hpp>

namespace radius_sockets {

using namespace culvert;
using namespace culvert::control::io;
using boost::asio::ip::udp;
using namespace std::chrono_literals;

struct Fixture {
  boost::asio::io_context context;
  udp::socket server{context, {boost::asio::ip::address_v4::loopback(), 0}};
  config::Radius config;
  std::vector<std::pair<std::uint32_t, Bytes>> received;
  std::vector<std::uint32_t> unreachable;
  std::vector<std::string> complaints;
  Fixture() {
    config::RadiusServer s;
    s.name = "main";
    s.address = IpAddress::v4(0x7f000001);
    s.auth_port = server.local_endpoint().port();
    config.servers.push_back(s);
  }
  RadiusSockets::Hooks hooks() {
    return {[this](std::size_t, std::uint32_t socket, ByteView d) { received.emplace_back(socket, Bytes(d.begin(), d.end())); },
            [this](std::size_t, std::uint32_t socket) { unreachable.push_back(socket); },
            [this](std::string what) { complaints.push_back(std::move(what)); }};
  }
  /// Whether it comes to hold.
  bool until(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) context.run_one_for(20ms);
    return condition();
  }
};

TEST_CASE("RADIUS sockets: there and back, by the socket that it was sent by, and from nobody else", "[io][radius]") {
  Fixture f;
  RadiusSockets sockets(f.context, f.config, f.hooks());
  for (const std::uint32_t number : {0U, 3U}) {
    sockets.send({0, number, {1, 2, static_cast<std::uint8_t>(number)}});
    std::array<std::uint8_t, 8192> buffer{};
    udp::endpoint from;
    REQUIRE(f.server.receive_from(boost::asio::buffer(buffer), from) == 3);
    CHECK(buffer[2] == number);
    udp::socket stranger(f.context, {boost::asio::ip::address_v4::loopback(), 0});
    boost::system::error_code ignored;
    stranger.send_to(boost::asio::buffer(Bytes{9}), from, 0, ignored);
    f.server.send_to(boost::asio::buffer(Bytes(5000, 7)), from);
    f.server.send_to(boost::asio::buffer(Bytes{4, static_cast<std::uint8_t>(number)}), from);
  }
  REQUIRE(f.until([&] { return f.received.size() == 4; }));
  for (const auto& [socket, data] : f.received) {
    INFO(data.size());
    CHECK((data.size() == 4097 || data == Bytes{4, static_cast<std::uint8_t>(socket)}));  // cut, so that it is seen to be too long
  }
  CHECK(f.complaints.empty());
}

TEST_CASE("RADIUS sockets: nothing listens, and what cannot be opened", "[io][radius]") {
  Fixture f;
  f.server.close();
  {
    RadiusSockets sockets(f.context, f.config, f.hooks());
    sockets.send({0, 0, {1}});
    CHECK(f.until([&] { return !f.unreachable.empty(); }));
    sockets.send({0, 0, {2}});  // goes on
    CHECK(f.complaints.empty());
  }
  f.config.servers[0].source = IpAddress::parse("192.0.2.77").value();  // nobody's
  RadiusSockets sockets(f.context, f.config, f.hooks());
  f.unreachable.clear();
  for (int i = 0; i < 3; ++i) sockets.send({0, 5, {1}});
  CHECK(f.unreachable == std::vector<std::uint32_t>{5, 5, 5});
  REQUIRE(f.complaints.size() == 1);  // said once
  CHECK(f.complaints[0].starts_with("RADIUS server main (127.0.0.1) cannot be sent to: "));
}

}  // namespace radius_sockets
