// Secrets of culvertd's own: made once, the same afterwards, and nobody's else.
#include "control/config/lasting.hpp"

#include <algorithm>

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include "control/config/ticket_keys.hpp"
#include "tests/support/folder.hpp"

using namespace culvert;
using culvert::control::lasting_secret;
using culvert::test::Folder;

TEST_CASE("a lasting secret is made once, with mode 0600, and is the same afterwards", "[secret][lasting]") {
  const Folder folder, other;
  const auto first = lasting_secret(folder.path.string(), "crash-secret");
  REQUIRE(first);
  CHECK(first->size() == control::kLastingSecretBytes);
  struct stat info{};
  REQUIRE(::stat((folder.path / "crash-secret").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
  const auto again = lasting_secret(folder.path.string(), "crash-secret");
  REQUIRE(again);
  CHECK(std::ranges::equal(again->view(), first->view()));
  const auto another = lasting_secret(other.path.string(), "crash-secret");
  REQUIRE(another);
  CHECK_FALSE(std::ranges::equal(another->view(), first->view()));
}

TEST_CASE("what a crash left half written is made anew, and what is no secret is refused", "[secret][lasting]") {
  const Folder folder;
  folder.file("s.new", "half");
  CHECK(lasting_secret(folder.path.string(), "s"));
  folder.file("short", "abc");
  const auto found = lasting_secret(folder.path.string(), "short");
  REQUIRE_FALSE(found);
  CHECK(found.error().find("when it is removed, another one is made") != std::string::npos);
  CHECK(found.error().find("abc") == std::string::npos);
  folder.file("open", std::string(control::kLastingSecretBytes, 'x'), 0644);
  CHECK_FALSE(lasting_secret(folder.path.string(), "open"));
  folder.file("long", std::string(control::kLastingSecretBytes + 1, 'x'));
  CHECK_FALSE(lasting_secret(folder.path.string(), "long"));
  const auto nowhere = lasting_secret((folder.path / "none").string(), "s");
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().find("No such file or directory") != std::string::npos);
}

TEST_CASE("ticket keys: a new one every half day, the old ones as long as tickets can be good", "[secret][lasting][rfc5723-6.1]") {
  const Folder folder;
  constexpr std::int64_t kNow = 1'700'000'000, kHour = 3600;
  const auto open = [&] { return control::TicketKeys::open(folder.path.string()).value(); };
  auto keys = open();
  const auto first = keys.all(kNow).value();
  REQUIRE(first.size() == 1);
  CHECK(first[0].key.size() == 32);
  const auto same = [](const ike::TicketKey& a, const ike::TicketKey& b) { return a.id == b.id && a.key == b.key; };
  CHECK(same(keys.all(kNow + 11 * kHour).value()[0], first[0]));
  auto later = open();  // culvertd was started again
  CHECK(same(later.all(kNow + 11 * kHour).value()[0], first[0]));
  const auto second = later.all(kNow + 13 * kHour).value();
  REQUIRE(second.size() == 2);
  CHECK(same(second[1], first[0]));
  CHECK_FALSE(same(second[0], first[0]));
  CHECK(open().all(kNow + 14 * kHour).value().size() == 2);
  for (int day = 2; day < 9; ++day) {
    const auto all = later.all(kNow + day * 24 * kHour).value();
    CHECK(all.size() <= 3);
    CHECK(std::ranges::none_of(all, [&](const auto& k) { return same(k, first[0]); }));
  }
  struct stat info{};
  REQUIRE(::stat((folder.path / "ticket-keys").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(later.all(kNow).value().size() == 1);  // the clock was set back: those of the future are gone
  const auto before = later.all(kNow).value();
  REQUIRE(later.retire());
  CHECK(open().all(kNow).value().size() == 1);  // one of its own
  const auto after = later.all(kNow).value();
  REQUIRE(after.size() == 2);
  CHECK(same(after[1], before[0]));
  CHECK_FALSE(same(after[0], before[0]));
  REQUIRE(open().all(kNow).value().size() == 1);
  CHECK(same(open().all(kNow).value()[0], after[0]));
  CHECK(same(later.all(kNow).value()[0], after[0]));
  for (int i = 0; i < 40; ++i) {
    REQUIRE(later.retire());
    CHECK(later.all(kNow).value().size() <= control::TicketKeys::kMost);
  }
  folder.file("ticket-keys", "abc");
  CHECK_FALSE(control::TicketKeys::open(folder.path.string()));
  auto memory = control::TicketKeys::open("").value();
  CHECK(memory.all(kNow).value().size() == 1);
  auto nowhere = control::TicketKeys::open((folder.path / "none").string()).value();
  CHECK_FALSE(nowhere.all(kNow));
  CHECK(nowhere.all(kNow + 59).value().empty());  // neither tried nor complained of at each ticket that a stranger shows
  CHECK_FALSE(nowhere.all(kNow + 60));
}
