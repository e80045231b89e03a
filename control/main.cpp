// culvertd: the wiring of its parts, and nothing else. What each part does stands in its own header.
//
//     configuration -> Journal -> Listener, Exporter -> another user -> Loop { Gateway (Engine, SaStore, Link), CryptoPool, Authenticator,
//     Dispatcher }
#include <csignal>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "common/config/check.hpp"
#include "common/config/load.hpp"
#include "common/config/rounds.hpp"
#include "control/auth/authenticator.hpp"
#include "control/auth/check.hpp"
#include "control/config/lasting.hpp"
#include "control/config/methods.hpp"
#include "control/config/secret.hpp"
#include "control/config/ticket_keys.hpp"
#include "control/config/users.hpp"
#include "control/crypto/pool.hpp"
#include "control/gateway.hpp"
#include "control/ike/dh_job.hpp"
#include "control/io/loop.hpp"
#include "control/metrics/exporter.hpp"
#include "control/metrics/families.hpp"
#include "control/privileges.hpp"
#include "control/version.hpp"

namespace {

using namespace culvert;
using namespace culvert::control;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string config = "/etc/culvert/culvert.yaml";
  std::string check;
  std::string log_level;
};

crypto::WallTime wall_time() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

/// The files of users and passwords, of either side, of XAuth and EAP.
void look_at_users(const config::Connection& connection, Journal& journal) {
  const auto complain = [&](const std::string& what, const std::string& why) {
    Event e;
    e.connection = connection.name;
    e.level = ike::Severity::Error;
    e.message = what + ": " + why;
    e.reason = ike::name(ike::Reason::NoSecret);
    journal.write(std::move(e));
  };
  std::vector<config::SecretRef> files{connection.xauth_server.users};
  for (std::size_t k = 0; k < connection.remote_rounds; ++k) files.push_back(config::proofs(connection, k).remote_auth.users);
  for (const config::SecretRef& file : files)
    if (file.kind != config::SecretRef::Kind::None)
      if (const auto users = count_users(file); !users) complain("no user can be admitted", users.error());
  if (!connection.xauth_client.user.empty())
    if (const auto password = resolve_secret(connection.xauth_client.password); !password)
      complain("the password of local.xauth cannot be read", password.error());
  for (std::size_t k = 0; k < connection.local_rounds; ++k) {
    const config::LocalAuth& auth = config::proofs(connection, k).local_auth;
    if (!config::by_password(auth.auth)) continue;
    if (const auto password = resolve_secret(auth.password); !password)
      complain(auth.place.section + ".password cannot be read", password.error());
  }
}

/// A secret of a connection, by its name and what comes of it if it cannot be read.
void look_at_secret(const std::string& connection, const config::SecretRef& ref, const char* trouble, Journal& journal) {
  if (ref.kind == config::SecretRef::Kind::None) return;
  const auto secret = resolve_secret(ref);
  if (secret && secret->warning.empty()) return;
  Event e;
  e.connection = connection;
  e.level = secret ? ike::Severity::Warn : ike::Severity::Error;
  e.message = secret ? secret->warning : trouble + (": " + secret.error());
  if (!secret) e.reason = ike::name(ike::Reason::NoSecret);
  journal.write(std::move(e));
}

/// What is wrong with the secrets, keys and certificates is said at start, not at three in the morning when the first peer calls.
void look_at_secrets(const config::GatewayConfig& config, Journal& journal) {
  auth::ParsedFiles files;
  for (const auto& connection : config.connections) {
    for (const auto& finding : auth::findings(connection, files, wall_time())) {
      Event e;
      e.connection = connection.name;
      e.level = finding.error ? ike::Severity::Error : ike::Severity::Warn;
      e.message = finding.side + "." + finding.key + ": " + finding.message;
      journal.write(std::move(e));
    }
    look_at_users(connection, journal);
    look_at_secret(connection.name, connection.secret, "the secret cannot be read, so nobody can connect", journal);
    look_at_secret(connection.name, connection.ppk.secret, "the PPK cannot be read, so nobody can connect", journal);
  }
  for (const auto& server : config.radius.servers)
    look_at_secret({}, server.secret, "the secret of a RADIUS server cannot be read, so it cannot be asked", journal);
}

int serve(const config::GatewayConfig& config) {
  Journal journal(config.control.log);
  journal.info(fmt::format("culvertd {} starts, {} connection(s) configured", kVersion, config.connections.size()));
  for (const auto& problem : protect_memory()) journal.warn(problem);

  std::optional<User> user;
  if (!config.control.user.empty()) {
    auto found = find_user(config.control.user);
    if (!found) throw std::runtime_error(found.error());
    user = *found;
  }
  auto listener = io::Listener::open(config.control.socket, config.control.group);
  if (!listener) throw std::runtime_error(listener.error());
  if (user && !listener->hand_over(user->uid))
    journal.warn("control.socket stays with root: its directory does not let it be given to control.user");

  io::Loop loop;
  Gateway* gateway_ptr = nullptr;  // the pool's threads answer through the loop, which runs only once the gateway exists
  const auto answer_dh = [&](ike::DhResult result) {
    loop.post([&gateway_ptr, shared = std::make_shared<ike::DhResult>(std::move(result))] {
      gateway_ptr->on_dh(Clock::now(), std::move(*shared));
    });
  };
  const auto answer_user = [&](ike::UserChecked result) {
    loop.post([&gateway_ptr, result = std::move(result)] { gateway_ptr->on_user_checked(Clock::now(), result); });
  };
  const auto answer_found = [&](ike::UserFound result) {
    loop.post([&gateway_ptr, shared = std::make_shared<ike::UserFound>(std::move(result))] {
      gateway_ptr->on_user_found(Clock::now(), std::move(*shared));
    });
  };
  CryptoPool* pool_ptr = nullptr;
  auth::Authenticator authenticator(
      config, {.compute = [&pool_ptr](std::function<void()> work) { return pool_ptr->submit(std::move(work)); },
               .post = [&loop](std::function<void()> work) { loop.post(std::move(work)); },
               .on_signed = [&gateway_ptr](ike::SignResult result) { gateway_ptr->on_signed(Clock::now(), std::move(result)); },
               .on_verified = [&gateway_ptr](ike::VerifyResult result) { gateway_ptr->on_verified(Clock::now(), std::move(result)); },
               .on_tls = [&gateway_ptr](ike::TlsStepped result) { gateway_ptr->on_tls(Clock::now(), std::move(result)); },
               .fetch = [&loop](auth::Fetch what, auth::Fetched done) { loop.fetch(std::move(what), std::move(done)); },
               .now = wall_time,
               .complain =
                   [&journal](const std::string& connection, const std::string& problem) {
                     Event e;
                     e.connection = connection;
                     e.level = ike::Severity::Error;
                     e.message = problem;
                     journal.write(std::move(e));
                   }});
  CryptoPool pool(config.ike.crypto_threads,
                  [&loop](std::exception_ptr why) { loop.fail(std::move(why)); });  // behind what its work refers to: it ends first
  pool_ptr = &pool;
  const auto read_secret = [](const config::SecretRef& ref) -> std::expected<SecretBytes, std::string> {
    auto secret = resolve_secret(ref);
    if (!secret) return std::unexpected(std::move(secret.error()));
    return std::move(secret->bytes);
  };
  SecretBytes crash_secret;  // read when we are control.user, as what follows
  TicketKeys tickets;
  const auto ticket_keys = [&tickets, &journal]() -> std::vector<ike::TicketKey> {
    auto keys = tickets.all(wall_time().time_since_epoch().count());
    if (keys) return std::move(*keys);
    journal.error("no tickets are given or taken: " + keys.error());
    return {};
  };
  const auto retire_ticket_keys = [&tickets, &journal] {
    if (const auto retired = tickets.retire(); !retired)
      journal.error("tickets of an IKE SA that an operator has ended are good again when culvertd is started anew: " + retired.error());
  };
  Gateway gateway(config, journal,
                  {.compute =
                       [&pool, &answer_dh](ike::ComputeDh job) {
                         const ike::JobId id = job.job;
                         if (!pool.submit([&answer_dh, job = std::move(job)] { answer_dh(ike::run_dh_job(job)); }))
                           answer_dh(ike::DhResult{.job = id});
                       },
                   .sign = [&authenticator](ike::Sign job) { authenticator.sign(std::move(job)); },
                   .verify = [&authenticator](ike::VerifyPeer job) { authenticator.verify(std::move(job)); },
                   .check_user =
                       [&pool, &answer_user](ike::CheckUser job, const config::SecretRef& users) {
                         const ike::JobId id = job.job;
                         const auto shared = std::make_shared<ike::CheckUser>(std::move(job));
                         if (!pool.submit([&answer_user, users, shared] {
                               const auto good = check_user(users, shared->user, shared->password);
                               answer_user({shared->job, good.value_or(false), good ? std::string{} : good.error()});
                             }))
                           answer_user({id, false, "too much is being computed"});
                       },
                   .find_user =
                       [&pool, &answer_found](const ike::FindUser& job, const config::SecretRef& users) {
                         if (!pool.submit([&answer_found, users, job] { answer_found(find_user(users, job)); }))
                           answer_found({.job = job.job, .error = "too much is being computed"});
                       },
                   .find_name =
                       [&loop, &gateway_ptr](ike::FindName job) {
                         loop.find_name(std::move(job),
                                        [&gateway_ptr](ike::NameFound found) { gateway_ptr->on_name(Clock::now(), found); });
                       },
                   .crash_secret = [&crash_secret] { return crash_secret.view(); },
                   .ticket_keys = ticket_keys,
                   .retire_ticket_keys = retire_ticket_keys,
                   .wall_seconds = [] { return std::int64_t{wall_time().time_since_epoch().count()}; },
                   .send_radius = [&loop](const radius::Send& what) { loop.send(what); },
                   .tls = [&authenticator](ike::TlsStep job) { authenticator.tls(std::move(job)); },
                   .signing_method = [&authenticator](const std::string& c) { return authenticator.signing_method(c); },
                   .certificates = [&authenticator](const std::string& c) { return authenticator.certificates(c); },
                   .authorities = [&authenticator](const std::string& c) { return authenticator.authorities(c); },
                   .authority_keys = [&authenticator](const std::string& c) { return authenticator.authority_keys(c); },
                   .inventory = [&authenticator] { return authenticator.inventory(); },
                   .read_secret = read_secret,
                   .wake_at = [&loop](std::optional<ike::TimePoint> when) { loop.wake_at(when); }});
  gateway_ptr = &gateway;
  cli::Dispatcher dispatcher(gateway);
  std::unique_ptr<Exporter> exporter;
  if (!config.control.metrics_listen.empty()) {
    exporter = std::make_unique<Exporter>(
        config.control.metrics_listen, [&loop](std::function<void()> work) { loop.post(std::move(work)); },
        [&gateway] { return metric_families(gateway, std::chrono::steady_clock::now()); });
    journal.info(fmt::format("metrics on http://{}/metrics", config.control.metrics_listen));
  }
  if (user) {
    if (const auto became = become(*user); !became) throw std::runtime_error(became.error());
    if (user->name != config.dataplane.control_user && user->uid != 0)
      journal.warn(fmt::format("control.user is {}, but dataplane.control_user is not: the data plane will not let us attach", user->name));
  }
  if (!config.control.state_dir.empty()) {
    auto lasting = lasting_secret(config.control.state_dir, "crash-secret");
    if (!lasting) throw std::runtime_error("control.state_dir: " + lasting.error());
    crash_secret = std::move(*lasting);
    auto keys = TicketKeys::open(config.control.state_dir);
    if (!keys) throw std::runtime_error("control.state_dir: " + keys.error());
    tickets = std::move(*keys);
  }
  look_at_secrets(config, journal);
  try {
    loop.run({gateway, dispatcher, *listener});
  } catch (const std::exception& e) {
    journal.error(fmt::format("ended by an error that nothing can go on after: {}; the data plane keeps what it has", e.what()));
    return 1;
  }
  return 0;
}

int run(const Options& options) {
  const auto files = [](const config::GatewayConfig& config, const config::Where& root) {
    check_methods(config, root);
    auth::check_files(config, root, wall_time());
  };
  if (!options.check.empty()) return config::check(options.check, std::cout, files);

  auto loaded = config::load_file(options.config, check_methods);
  if (!loaded) {
    for (const auto& finding : loaded.error()) std::cerr << finding.to_string() << '\n';
    return 1;
  }
  for (const auto& finding : loaded->warnings) std::cerr << finding.to_string() << '\n';
  if (options.log_level == "debug") loaded->config.control.log.level = config::LogLevel::Debug;
  if (options.log_level == "info") loaded->config.control.log.level = config::LogLevel::Info;
  if (options.log_level == "warn") loaded->config.control.log.level = config::LogLevel::Warn;
  if (options.log_level == "error") loaded->config.control.log.level = config::LogLevel::Error;
  auth::fill_identities(loaded->config);
  return serve(loaded->config);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"culvertd: negotiates the tunnels of a Culvert gateway and hands them to culvert-dataplane", "culvertd"};
  app.add_option("--config", options.config, "configuration file")->capture_default_str();
  app.add_option("--check", options.check, "check this configuration file, say what is wrong with it, and exit: 0 usable, 1 not");
  app.add_option("--log-level", options.log_level, "instead of control.log.level")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  app.set_version_flag("--version", std::string("culvertd ") + std::string(kVersion));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // who reads our output, or asks for metrics, may go when it likes
  try {
    return run(options);
  } catch (const std::exception& e) {
    std::cerr << "culvertd: " << e.what() << '\n';
    return 1;
  }
}
