// Fuzzes the control socket's requests: lines of JSON, or of anything, to a gateway whose data plane is not there.
// Each line gets one reply, at once or later, and that is a JSON object that says whether it worked.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <boost/json.hpp>

#include "control/cli/server/dispatcher.hpp"

namespace {

using namespace culvert;
using namespace culvert::control;

void require(bool condition) {
  if (!condition) std::abort();
}

config::GatewayConfig gateway_config() {
  config::GatewayConfig out;
  config::Child net;
  net.name = "net";
  net.local_ts = TrafficSelector::parse("10.1.0.0/24").value();
  net.remote_ts = TrafficSelector::parse("10.2.0.0/24").value();
  config::Connection site;
  site.name = "site-b";
  site.children = {net};
  out.connections = {site};
  out.control.log.level = config::LogLevel::Error;
  return out;
}

void check(const std::string& line) {
  require(line.find('\n') == std::string::npos);
  const boost::json::value reply = boost::json::parse(line);
  require(reply.is_object() && reply.as_object().contains("ok"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const config::GatewayConfig config = gateway_config();
  Journal journal{config.control.log};
  Gateway gateway{config, journal,
                  Gateway::Hooks{.compute = [](ike::ComputeDh) {},
                                 .read_secret = [](const config::SecretRef&) -> std::expected<SecretBytes, std::string> {
                                   return std::unexpected("no such file");
                                 },
                                 .wake_at = [](std::optional<ike::TimePoint>) {}}};
  cli::Dispatcher dispatcher(gateway);
  const ike::TimePoint now{std::chrono::hours(1)};
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const cli::Reply reply = dispatcher.handle(rest.substr(0, end), now);
    if (!reply.line.empty()) check(reply.line);
    if (reply.later) {
      auto line = reply.later(now);
      if (!line) line = reply.later(now + std::chrono::hours(24));
      require(line.has_value());
      check(*line);
    }
    if (reply.stream)
      if (const auto line = reply.stream()) check(*line);
    require(!reply.line.empty() || reply.later || reply.stream);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return 0;
}
