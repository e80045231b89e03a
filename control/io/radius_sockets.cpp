#include "control/io/radius_sockets.hpp"

#include <array>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/udp.hpp>

namespace culvert::control::io {

namespace asio = boost::asio;
using asio::ip::udp;
using boost::system::error_code;

struct RadiusSockets::Socket {
  std::size_t server;
  std::uint32_t number;
  udp::socket handle;
  std::array<std::uint8_t, radius::kMaxPacket + 1> data{};  ///< one more, so that what is too long is seen to be
  Socket(asio::io_context& context, std::size_t s, std::uint32_t n) : server(s), number(n), handle(context) {}
};

namespace {
asio::ip::address of(const IpAddress& a) {
  if (a.family == Family::V4) return asio::ip::address_v4(a.v4_host());
  return asio::ip::address_v6(a.bytes);
}
}  // namespace

RadiusSockets::RadiusSockets(asio::io_context& context, const config::Radius& config, Hooks hooks)
    : context_(context), config_(config), hooks_(std::move(hooks)) {}

RadiusSockets::~RadiusSockets() {
  error_code ignored;
  for (const auto& [key, socket] : sockets_) socket->handle.close(ignored);
}

std::shared_ptr<RadiusSockets::Socket> RadiusSockets::open(std::size_t server, std::uint32_t number) {
  const config::RadiusServer& c = config_.servers.at(server);
  const udp::endpoint to(of(c.address), c.auth_port);
  auto socket = std::make_shared<Socket>(context_, server, number);
  error_code error;
  socket->handle.open(to.protocol(), error);
  if (!error) socket->handle.non_blocking(true, error);
  if (!error && c.source) socket->handle.bind({of(*c.source), 0}, error);
  if (!error) socket->handle.connect(to, error);
  std::string& last = complaints_[server];
  if (!error) {
    last.clear();
    receive(socket);
    return socket;
  }
  if (const std::string text = error.message(); text != last) {
    last = text;
    hooks_.complain("RADIUS server " + c.name + " (" + c.address.to_string() + ") cannot be sent to: " + text);
  }
  return nullptr;
}

void RadiusSockets::receive(const std::shared_ptr<Socket>& socket) {
  socket->handle.async_receive(asio::buffer(socket->data), [this, socket](const error_code& error, std::size_t size) {
    if (error == asio::error::operation_aborted || !socket->handle.is_open()) return;
    if (!error) {
      hooks_.received(socket->server, socket->number, ByteView(socket->data).first(size));
    } else if (error == asio::error::connection_refused || error == asio::error::host_unreachable ||
               error == asio::error::network_unreachable) {
      hooks_.unreachable(socket->server, socket->number);
    } else {
      sockets_.erase({socket->server, socket->number});  // opened anew when something is to be sent
      return;
    }
    receive(socket);
  });
}

void RadiusSockets::send(const radius::Send& what) {
  auto it = sockets_.find({what.server, what.socket});
  if (it == sockets_.end()) {
    auto made = open(what.server, what.socket);
    if (!made) return hooks_.unreachable(what.server, what.socket);
    it = sockets_.emplace(std::pair(what.server, what.socket), std::move(made)).first;
  }
  error_code error;
  it->second->handle.send(asio::buffer(what.data), 0, error);
  // The kernel reports here, too, what came of an earlier one.
  if (error == asio::error::connection_refused) hooks_.unreachable(what.server, what.socket);
}

}  // namespace culvert::control::io
