// culvert-dataplane: reads the configuration, starts the data plane, ends on SIGTERM or SIGINT.
// Owns command line, logging and exit codes only.
//
// Exit codes: 0 ended by a signal; 1 wrong command line or configuration; 2 the data plane could not start; 3 it ran, and cannot go on.
#include <csignal>
#include <cstdio>
#include <string>

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>

#include "common/config/load.hpp"
#include "common/log_line.hpp"
#include "dataplane/gateway.hpp"
#include "dataplane/io/privileges.hpp"

namespace {
constexpr int kBadConfiguration = 1, kCannotStart = 2, kCannotGoOn = 3;

const char* const kUsage =
    "usage: culvert-dataplane --config FILE\n"
    "Owns the network ports, and forwards and encrypts packets. See configs/reference.yaml.\n";

/// A line in the form of culvertd's log, as text or JSON.
class LineFormatter : public spdlog::formatter {
 public:
  explicit LineFormatter(culvert::config::LogFormat format) : format_(format) {}
  void format(const spdlog::details::log_msg& m, spdlog::memory_buf_t& out) override {
    const std::string_view text(m.payload.data(), m.payload.size());
    const std::string time = culvert::format_time(m.time);
    if (format_ == culvert::config::LogFormat::Json) {
      fmt::format_to(std::back_inserter(out), R"({{"ts":"{}","level":"{}","event":"{}","component":"dataplane"}})", time,
                     level_name(m.level), culvert::json_escaped(text));
    } else {
      fmt::format_to(std::back_inserter(out), "{} {:<5} dataplane: {}", time, level_name(m.level), culvert::one_line(text));
    }
    out.push_back('\n');
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<LineFormatter>(format_); }

 private:
  static std::string_view level_name(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::trace:
      case spdlog::level::debug:
        return "debug";
      case spdlog::level::info:
        return "info";
      case spdlog::level::warn:
        return "warn";
      default:
        return "error";
    }
  }
  culvert::config::LogFormat format_;
};

void set_up_log(const culvert::config::Log& log) {
  auto logger = spdlog::stderr_logger_mt("culvert-dataplane");
  logger->set_formatter(std::make_unique<LineFormatter>(log.format));
  constexpr spdlog::level::level_enum levels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  logger->set_level(levels[static_cast<std::size_t>(log.level)]);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

/// The signals that end us, blocked in every thread and readable from a descriptor.
int block_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int run(const culvert::config::GatewayConfig& config) {
  const int signals = block_signals();
  if (const auto hardened = culvert::dp::harden_process(); !hardened) spdlog::warn("{}", hardened.error());
  auto gateway = culvert::dp::Gateway::start(config, signals);
  if (!gateway) {
    spdlog::error("{}", gateway.error());
    return kCannotStart;
  }
  if (const auto launched = (*gateway)->launch(); !launched) {
    spdlog::error("{}", launched.error());
    return kCannotStart;
  }
  spdlog::info("culvert-dataplane ready");
  (*gateway)->run();
  const culvert::dp::Books books = (*gateway)->finish();
  if (!books.balanced()) spdlog::error("packets are lost without a reason; please report this");
  spdlog::info("culvert-dataplane ends; {}", books.text());
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  std::string file;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--help" || a == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (a == "--config") {
      if (i + 1 == argc) {
        std::fprintf(stderr, "culvert-dataplane: --config needs a file\n%s", kUsage);
        return kBadConfiguration;
      }
      file = argv[++i];
    } else if (a.rfind("--config=", 0) == 0) {
      file = a.substr(9);
    } else {
      std::fprintf(stderr, "culvert-dataplane: unknown argument '%s'\n%s", argv[i], kUsage);
      return kBadConfiguration;
    }
  }
  if (file.empty()) {
    std::fputs(kUsage, stderr);
    return kBadConfiguration;
  }
  const auto loaded = culvert::config::load_file(file);
  if (!loaded) {
    for (const auto& d : loaded.error()) std::fprintf(stderr, "%s\n", d.to_string().c_str());
    return kBadConfiguration;
  }
  set_up_log(loaded->config.control.log);
  for (const auto& d : loaded->warnings) spdlog::warn("{}", d.to_string());
  try {
    return run(loaded->config);
  } catch (const std::exception& e) {  // memory ran out: the workers have been stopped, and culvertd sees its socket close
    spdlog::error("culvert-dataplane cannot go on: {}", e.what());
    return kCannotGoOn;
  }
}
