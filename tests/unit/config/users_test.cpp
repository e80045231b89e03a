// The users file: which hashes and lines are taken, and who is let in.
#include "control/config/users.hpp"

#include <algorithm>
#include <chrono>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "control/crypto/nt_hash.hpp"
#include "tests/support/folder.hpp"

using namespace culvert;
using culvert::config::SecretRef;
using culvert::control::check_user;
using culvert::control::count_users;
using culvert::test::Folder;

namespace {
SecretRef users(const Folder& folder, const std::string& content, mode_t mode = 0600) {
  return {SecretRef::Kind::File, folder.file("users", content, mode)};
}
bool good(const SecretRef& ref, const std::string& user, const std::string& password) {
  const auto result = check_user(ref, as_bytes(user), SecretBytes(as_bytes(password)));
  INFO((result ? std::string() : result.error()));
  REQUIRE(result);
  return *result;
}
// Made by openssl passwd -6 -salt saltsalt, -5, and mkpasswd -m yescrypt, of "alicepw".
const std::string kUsers =
    "# remote access\n"
    "\n"
    "alice:$6$saltsalt$fxtrgNr0//Ip0B6ss2a/TCLvMdsw5Nx6dknvHShinRxCFbPDFOF1FjlGij8xWCb0jfJjN/ydBgMw3Go6NrTo21\n"
    "bob:$5$saltsalt$oQcbnkhLMRqvioe4yl/tmT2Rs.x/ovXywnDfGRPmyH4\r\n"
    "carol:$y$j9T$F5Jx5fExrKuPp53xLKQ..1$Lrm./uNavNp49/ausryThT1xU.EWlGfVom1vGW26vK3\n"
    "dave:{plain}pass:word \n"
    "eve@example.org:{plain}x";
}  // namespace

TEST_CASE("users are let in with their password alone", "[users][xauth]") {
  const Folder folder;
  const SecretRef ref = users(folder, kUsers);
  CHECK(count_users(ref) == 5);
  for (const char* user : {"alice", "bob", "carol"}) {
    INFO(user);
    CHECK(good(ref, user, "alicepw"));
    CHECK_FALSE(good(ref, user, "alicepw "));
    CHECK_FALSE(good(ref, user, ""));
    CHECK_FALSE(good(ref, user, std::string("alicepw\0x", 9)));
  }
  CHECK(good(ref, "dave", "pass:word "));
  CHECK_FALSE(good(ref, "dave", "pass:word"));
  CHECK(good(ref, "eve@example.org", "x"));
  CHECK_FALSE(good(ref, "eve@example.org", "y"));
  for (const char* nobody : {"", "mallory", "alice:", "# remote access", "Alice"}) CHECK_FALSE(good(ref, nobody, "alicepw"));
  CHECK_FALSE(good(users(folder, ""), "alice", "alicepw"));
}

TEST_CASE("users of EAP: what is known of them, and of whom nothing can be", "[users][eap]") {
  const Folder folder;
  const SecretRef ref = users(folder, kUsers + "\nfrank:{nt}44EBBA8D5312b8d611474411f56989ae\n");
  const auto find = [&](const char* user, bool plain = false) {
    return control::find_user(ref, {.job = 7, .connection = "c", .user = to_bytes(user), .plain = plain});
  };
  const auto dave = find("dave");
  CHECK((dave.job == 7 && dave.found && dave.error.empty()));
  CHECK(dave.password == SecretBytes(as_bytes("pass:word ")));
  CHECK(dave.nt_hash == crypto::nt_hash(as_bytes("pass:word ")));
  const auto frank = find("frank");
  CHECK((frank.found && frank.error.empty() && frank.password.empty()));
  CHECK(frank.nt_hash == crypto::nt_hash(as_bytes("clientPass")));  // RFC 2759 §9.2
  CHECK(find("frank", true).error.find("must be {plain}") != std::string::npos);
  CHECK(find("dave", true).error.empty());
  const auto alice = find("alice");
  CHECK((alice.nt_hash.empty() && alice.password.empty()));
  CHECK(alice.error.find("user \"alice\" is kept as a hash") != std::string::npos);
  for (const char* nobody : {"", "mallory", "Dave", "frank:{nt}"}) {
    CHECK_FALSE(find(nobody).found);
    CHECK(find(nobody).error.empty());
  }
  CHECK_FALSE(
      control::find_user({SecretRef::Kind::File, "/nowhere"}, {.job = 8, .connection = "c", .user = to_bytes("dave")}).error.empty());
  CHECK(good(ref, "frank", "clientPass"));  // XAuth takes him, too
  CHECK_FALSE(good(ref, "frank", "clientpass"));
  for (const char* bad : {"g:{nt}", "g:{nt}44ebba8d5312b8d611474411f56989a", "g:{nt}44ebba8d5312b8d611474411f56989ag",
                          "g:{nt}44ebba8d5312b8d611474411f56989ae "})
    CHECK_FALSE(count_users(users(folder, bad)));
}

TEST_CASE("who is there, and how the password is kept, cannot be told by the time that an answer takes", "[users][xauth]") {
  const Folder folder;
  const SecretRef ref = users(folder, "alice:$6$rounds=60000$saltsalt$" + std::string(86, 'a') + "\nbob:{plain}secret\n");
  const auto shortest = [&](const char* user) {
    auto best = std::chrono::steady_clock::duration::max();
    for (int i = 0; i < 5; ++i) {
      const auto begun = std::chrono::steady_clock::now();
      CHECK_FALSE(good(ref, user, "guess"));
      best = std::min(best, std::chrono::steady_clock::now() - begun);
    }
    return best;
  };
  const auto hashed = shortest("alice"), plain = shortest("bob"), absent = shortest("carol");
  CHECK(plain * 2 > hashed);
  CHECK(absent * 2 > hashed);
  CHECK(good(ref, "bob", "secret"));
}

TEST_CASE("a users file that others could read, or with a line that makes no sense, lets nobody in", "[users][xauth]") {
  const Folder folder;
  CHECK_FALSE(count_users(users(folder, kUsers, 0640)));
  CHECK_FALSE(count_users({SecretRef::Kind::File, "/nowhere/users"}));
  CHECK_FALSE(count_users({SecretRef::Kind::Env, "USERS"}));
  for (const char* line : {"alice", ":{plain}x", "alice:", "alice:{plain}", "alice:hunter2", "alice:$1$aa$bb", "alice:ab01FAX.bQRSU"}) {
    const auto n = count_users(users(folder, "ok:{plain}x\n" + std::string(line) + "\n"));
    REQUIRE_FALSE(n);
    CHECK(n.error().find("line 2") != std::string::npos);
    CHECK(n.error().find("hunter2") == std::string::npos);
    CHECK_FALSE(check_user(users(folder, line), as_bytes("ok"), SecretBytes(as_bytes("x"))));
  }
}
