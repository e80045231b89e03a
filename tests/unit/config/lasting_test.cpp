// Secrets of culvertd's own: made once, the same afterwards, and nobody's else.
#include "control/config/lasting.hpp"

#include <algorithm>

#include <catch2/catch.hpp>
#include <sys/stat.h>

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
