// Secrets: which files are taken, which are refused, and that no message says what is in them.
#include "control/config/secret.hpp"

#include <cstdlib>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/folder.hpp"

using namespace culvert;
using culvert::config::SecretRef;
using culvert::control::resolve_secret;
using culvert::test::Folder;

namespace {
std::string text(const SecretBytes& s) { return {s.view().begin(), s.view().end()}; }
const std::string kGood = "correct horse battery staple";
}  // namespace

TEST_CASE("a secret file's content is the secret, without one newline at its end", "[secret][attack-M2]") {
  const Folder folder;
  const std::vector<std::pair<std::string, std::string>> rows{{kGood, kGood},
                                                              {kGood + "\n", kGood},
                                                              {kGood + "\r\n", kGood},
                                                              {kGood + "\n\n", kGood + "\n"},
                                                              {" " + kGood + " \n", " " + kGood + " "}};
  for (const auto& [content, secret] : rows) {
    const auto s = resolve_secret({SecretRef::Kind::File, folder.file("psk", content)});
    REQUIRE(s);
    CHECK(text(s->bytes) == secret);
    CHECK(s->warning.empty());
  }
  const auto longest = resolve_secret({SecretRef::Kind::File, folder.file("long", std::string(control::kMaxSecretBytes, 'x') + "\n")});
  REQUIRE(longest);
  CHECK(longest->bytes.size() == control::kMaxSecretBytes);
  CHECK(resolve_secret({SecretRef::Kind::File, folder.file("r", kGood, 0400)}));
}

TEST_CASE("a secret file that others could read, or that is none, is refused", "[secret][attack-M2]") {
  const Folder folder;
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0644, 0660, 0610}) {
    const auto s = resolve_secret({SecretRef::Kind::File, folder.file("psk", kGood, mode)});
    REQUIRE_FALSE(s);
    CHECK(s.error().find("mode 0600") != std::string::npos);
    CHECK(s.error().find(kGood) == std::string::npos);
  }
  const std::string pipe = (folder.path / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::vector<std::pair<std::string, std::string>> rows{
      {folder.path / "absent", "No such file"},
      {folder.path, "is no regular file"},
      {pipe, "is no regular file"},
      {"/dev/zero", "is no regular file"},
      {folder.file("empty", ""), "is empty"},
      {folder.file("newline", "\n"), "is empty"},
      {folder.file("crlf", "\r\n"), "is empty"},
      {folder.file("huge", std::string(control::kMaxSecretBytes + 1, 'x')), "longer than 4096"},
      {folder.file("huger", std::string(100000, 'x')), "longer than 4096"},
  };
  for (const auto& [where, why] : rows) {
    const auto s = resolve_secret({SecretRef::Kind::File, where});
    INFO(where);
    REQUIRE_FALSE(s);
    CHECK(s.error().find(why) != std::string::npos);
    CHECK(s.error().find(where) != std::string::npos);
    CHECK(s.error().find("xxxx") == std::string::npos);
  }
}

TEST_CASE("a secret from the environment, a short one, and none", "[secret][attack-M2]") {
  ::setenv("CULVERT_TEST_PSK", kGood.c_str(), 1);
  ::setenv("CULVERT_TEST_SHORT", "hunter2", 1);
  ::setenv("CULVERT_TEST_EMPTY", "", 1);
  ::unsetenv("CULVERT_TEST_ABSENT");
  const auto good = resolve_secret({SecretRef::Kind::Env, "CULVERT_TEST_PSK"});
  REQUIRE(good);
  CHECK(text(good->bytes) == kGood);
  const auto weak = resolve_secret({SecretRef::Kind::Env, "CULVERT_TEST_SHORT"});
  REQUIRE(weak);
  CHECK(weak->warning.find("fewer than 20") != std::string::npos);
  CHECK(weak->warning.find("hunter2") == std::string::npos);
  CHECK_FALSE(resolve_secret({SecretRef::Kind::Env, "CULVERT_TEST_EMPTY"}));
  CHECK_FALSE(resolve_secret({SecretRef::Kind::Env, "CULVERT_TEST_ABSENT"}));
  CHECK_FALSE(resolve_secret({}));
}
