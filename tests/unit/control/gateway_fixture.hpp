// A gateway of one site with two children, between a scripted engine and a data plane without packets.
#pragma once

#include <memory>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <prometheus/text_serializer.h>

#include "control/cli/server/dispatcher.hpp"
#include "control/gateway.hpp"
#include "control/metrics/families.hpp"
#include "tests/support/fake_dataplane.hpp"
#include "tests/support/fake_engine.hpp"

namespace culvert::control {

using namespace std::chrono_literals;
namespace json = boost::json;

inline config::GatewayConfig sample() {
  config::GatewayConfig c;
  c.dataplane.sa_capacity = 64;
  config::Child net;
  net.name = "net";
  net.local_ts = *TrafficSelector::parse("10.1.0.0/24");
  net.remote_ts = *TrafficSelector::parse("10.2.0.0/24");
  net.start_action = config::StartAction::Start;
  config::Child voice = net;
  voice.name = "voice";
  voice.remote_ts = *TrafficSelector::parse("10.3.0.0/24");
  voice.start_action = config::StartAction::None;
  config::Connection site;
  site.name = "site-b";
  site.children = {net, voice};
  c.connections = {site};
  config::Policy p;
  p.name = "mgmt";
  p.action = config::PolicyAction::Bypass;
  p.local_ts = p.remote_ts = *TrafficSelector::parse("192.0.2.0/24");
  c.policies = {p};
  c.control.log.level = config::LogLevel::Error;
  return c;
}

struct GatewayFixture {
  config::GatewayConfig config = sample();
  Journal journal{config.control.log};
  std::optional<ike::TimePoint> woken;
  std::unique_ptr<test::FakeDataplane> dp = std::make_unique<test::FakeDataplane>(64U);
  ike::TimePoint now{1h};
  std::unique_ptr<Gateway> gateway;
  std::vector<ike::ComputeDh> jobs;
  auth::Inventory inventory;

  GatewayFixture() { restart(); }
  void restart() {
    test::reset_engine();
    gateway.reset();
    gateway =
        std::make_unique<Gateway>(config, journal,
                                  Gateway::Hooks{.compute = [this](ike::ComputeDh j) { jobs.push_back(std::move(j)); },
                                                 .inventory = [this] { return inventory; },
                                                 .read_secret = [](const config::SecretRef&) -> std::expected<SecretBytes, std::string> {
                                                   return std::unexpected("no such file");
                                                 },
                                                 .wake_at = [this](std::optional<ike::TimePoint> t) { woken = t; }});
  }
  void attach() {
    auto attachment = finish_attach(UniqueFd(dp->connect_pair()));
    REQUIRE(attachment);
    gateway->attached(now, std::move(*attachment));
    settle();
  }
  void settle() {
    for (int i = 0; i < 100 && (dp->pump() > 0 || !gateway->quiet()); ++i) REQUIRE(gateway->drain(now));
  }
  ike::InstallSa install(ike::JobId job, Direction direction, Spi spi, std::uint64_t pair) {
    ike::InstallSa a;
    a.job = job;
    a.pair = pair;
    a.direction = direction;
    a.connection = "site-b";
    a.child = "net";
    a.spi = spi;
    a.suite = {Encr::AesGcm16, 128, Integ::None, DhGroup::None};
    a.encr_key = SecretBytes(20);
    return a;
  }
  Spi bring_up(std::uint64_t pair) {
    const Spi in = *test::engine().services->allocate_spi();
    test::engine().actions = {install(pair * 10, Direction::Inbound, in, pair),
                              install(pair * 10 + 1, Direction::Outbound, Spi{0xdddd}, pair)};
    gateway->on_timer(now);
    settle();
    return in;
  }
  json::object ask(const std::string& request) {
    cli::Dispatcher dispatcher(*gateway);
    const cli::Reply reply = dispatcher.handle(request, now);
    std::optional<std::string> line;
    if (reply.later) {
      line = reply.later(now);
      if (!line && gateway->link() != nullptr) settle();  // it may wait for the data plane
      if (!line) line = reply.later(now);
      if (!line) line = reply.later(now + 3600s);
    }
    return json::parse(line ? *line : reply.line).as_object();
  }
  std::string metrics() { return prometheus::TextSerializer().Serialize(metric_families(*gateway, now)); }
};

inline bool has(const std::string& text, const std::string& line) { return text.find(line + "\n") != std::string::npos; }

}  // namespace culvert::control
