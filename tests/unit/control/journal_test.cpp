// The form of a log line: one line, valid JSON, nothing unprintable; and the bounded memory of recent events.
#include "control/log/journal.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log_line.hpp"

using namespace culvert;
using namespace culvert::control;

namespace {
config::Log quiet() {
  config::Log log;
  log.level = config::LogLevel::Error;
  return log;
}
}  // namespace

TEST_CASE("a report becomes an event with its names", "[log]") {
  ike::Report r;
  r.severity = ike::Severity::Warn;
  r.connection = "site-b";
  r.child = "net";
  r.peer = Endpoint{IpAddress::v4(0x0a090002), 500};
  r.exchange = ike::Exchange::QuickMode;
  r.role = ike::Role::Responder;
  r.reason = ike::Reason::NoProposalChosen;
  r.message = "offered aes128, wanted aes256";
  config::GatewayConfig config;
  Event e = event_of(r, config);
  CHECK_THAT(format_text(e), Catch::Contains("warn  site-b/net: offered aes128, wanted aes256 (peer=10.9.0.2:500, exchange=quick_mode, "
                                             "role=responder, reason=no_proposal_chosen)"));
  CHECK(e.vrf.empty());
  config.vrfs = {"blue"};
  r.peer->vrf = 1;
  CHECK_THAT(format_text(event_of(r, config)), Catch::Contains("(peer=10.9.0.2:500, vrf=blue, "));
  CHECK_THAT(format_json(event_of(r, config)), Catch::Contains(R"("vrf":"blue")"));
  const auto o = boost::json::parse(format_json(e)).as_object();
  CHECK(o.at("ts").as_string().ends_with("Z"));
  CHECK(o.at("level") == "warn");
  CHECK(o.at("event") == "offered aes128, wanted aes256");
  CHECK(o.at("child") == "net");
  CHECK(o.at("reason") == "no_proposal_chosen");
}

TEST_CASE("hostile text stays inside of its line and its string", "[log]") {
  Event e;
  e.message = "a\nb\"c\\d\x1b[31m\x7f";
  CHECK(format_text(e).find('\n') == std::string::npos);
  CHECK(format_text(e).find('\x1b') == std::string::npos);
  CHECK(boost::json::parse(format_json(e)).at("event") == "a\nb\"c\\d\x1b[31m\x7f");
  CHECK(format_json(e).find('\n') == std::string::npos);
}

TEST_CASE("times are UTC with milliseconds", "[log]") {
  using namespace std::chrono;
  CHECK(format_time(system_clock::time_point(milliseconds(1'700'000'000'042))) == "2023-11-14T22:13:20.042Z");
}

TEST_CASE("recent events are kept in order, as many as the bound says", "[log]") {
  Journal journal(quiet());
  for (std::size_t i = 0; i < Journal::kRecent + 10; ++i) journal.info("event " + std::to_string(i));
  const auto all = journal.since(0);
  REQUIRE(all.size() == Journal::kRecent);
  CHECK(all.front().message == "event 10");
  CHECK(all.back().sequence == journal.last_sequence());
  CHECK(journal.since(journal.last_sequence() - 3).size() == 3);
  CHECK(journal.since(journal.last_sequence()).empty());
}

TEST_CASE("a log file that cannot be opened is an error with its name", "[log]") {
  config::Log log;
  log.file = "/dev/null/culvertd.log";
  CHECK_THROWS_WITH(Journal(log), Catch::Contains("/dev/null/culvertd.log"));
}

TEST_CASE("a full disk costs lines of the file alone: they are still in `culvert log`, and later ones are written", "[log][attack-O4]") {
  const auto file = std::filesystem::temp_directory_path() / ("culvert-journal-full-" + std::to_string(::getpid()));
  config::Log log;
  log.file = file.string();
  const auto before = ::signal(SIGXFSZ, SIG_IGN);
  rlimit room{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &room) == 0);
  {
    Journal journal(log);
    journal.info("there is room");
    const rlimit none{512, room.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);  // as a full disk: a write ends with an error, or is cut short
    for (int i = 0; i < 100; ++i) journal.info("line " + std::to_string(i));
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &room) == 0);
    CHECK(std::filesystem::file_size(file) <= 512);
    CHECK(journal.since(0).size() == 101);
    CHECK(journal.since(0).back().message == "line 99");
    journal.info("there is room again");
  }
  ::signal(SIGXFSZ, before);
  std::ifstream in(file);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  CHECK_THAT(text, Catch::Contains("info  there is room\n") && Catch::Contains("info  there is room again\n"));
  std::filesystem::remove(file);
}

TEST_CASE("a log file that was renamed is opened anew, and stays if that cannot be", "[log]") {
  const auto folder = std::filesystem::temp_directory_path() / ("culvert-journal-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const auto text_of = [&](const char* name) {
    std::ifstream in(folder / name);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  config::Log log;
  log.file = (folder / "culvertd.log").string();
  {
    Journal journal(log);
    journal.info("one");
    std::filesystem::rename(log.file, folder / "old.log");
    journal.info("two");
    journal.reopen();
    journal.info("three");
    std::filesystem::rename(log.file, folder / "older.log");
    std::filesystem::create_directory(log.file);
    journal.reopen();
    journal.info("four");
  }
  CHECK_THAT(text_of("old.log"), Catch::Contains("info  one\n") && Catch::Contains("info  two\n") && !Catch::Contains("three"));
  CHECK_THAT(text_of("older.log"),
             Catch::Contains("info  three\n") && Catch::Contains("cannot be opened anew") && Catch::Contains("info  four\n"));
  std::filesystem::remove_all(folder);
}
