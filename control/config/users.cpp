#include "control/config/users.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <crypt.h>

#include "control/config/secret.hpp"
#include "control/crypto/nt_hash.hpp"

namespace culvert::control {

namespace {

constexpr std::string_view kPlain = "{plain}", kNt = "{nt}";
constexpr std::array<std::string_view, 6> kHashes{"$5$", "$6$", "$y$", "$gy$", "$7$", "$2b$"};

struct User {
  ByteView name, proof;  ///< views into the file
};

std::string_view text(ByteView b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

bool is_plain(ByteView proof) { return text(proof).starts_with(kPlain); }
bool is_nt(ByteView proof) { return text(proof).starts_with(kNt); }
bool of_crypt(ByteView proof) { return !is_plain(proof) && !is_nt(proof); }
bool known(ByteView proof) {
  if (is_plain(proof)) return proof.size() > kPlain.size();
  if (is_nt(proof)) {
    const std::string_view digits = text(proof).substr(kNt.size());
    return digits.size() == 2 * crypto::kNtHashBytes && digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  }
  return std::ranges::any_of(kHashes, [&](std::string_view h) { return text(proof).starts_with(h); });
}

/// The NT hash that stands there.
SecretBytes nt_hash_in(ByteView proof) {
  SecretBytes out(crypto::kNtHashBytes);
  if (auto digits = from_hex(text(proof).substr(kNt.size())); digits && digits->size() == out.size()) {
    std::ranges::copy(*digits, out.mutable_view().begin());
    wipe(*digits);
  }
  return out;
}

std::expected<std::vector<User>, std::string> parse(ByteView file, const std::string& path) {
  std::vector<User> out;
  std::size_t line = 0;
  while (!file.empty()) {
    ++line;
    const auto end = std::ranges::find(file, std::uint8_t{'\n'});
    ByteView one = file.first(static_cast<std::size_t>(end - file.begin()));
    file = file.subspan(std::min(file.size(), one.size() + 1));
    if (!one.empty() && one.back() == '\r') one = one.first(one.size() - 1);
    if (one.empty() || one.front() == '#') continue;
    const auto colon = std::ranges::find(one, std::uint8_t{':'});
    const std::string where = "line " + std::to_string(line) + " of the users file " + printable(as_bytes(path), 256);
    if (colon == one.end() || colon == one.begin()) return std::unexpected(where + " is not \"name:hash\"");
    const auto at = static_cast<std::size_t>(colon - one.begin());
    const User user{one.first(at), one.subspan(at + 1)};
    if (!known(user.proof))
      return std::unexpected(where +
                             " has neither a hash of a kind that is taken ($6$, $y$, ...) nor {plain} and a password, nor {nt} and "
                             "32 digits");
    out.push_back(user);
  }
  return out;
}

struct File {
  SecretBytes content;
  std::vector<User> users;
};
std::expected<File, std::string> read(const config::SecretRef& ref) {
  if (ref.kind != config::SecretRef::Kind::File) return std::unexpected("users are kept in a file");
  auto content = read_private_file(ref.where, "the users file", kMaxUsersBytes);
  if (!content) return std::unexpected(content.error());
  File out{std::move(*content), {}};
  auto users = parse(out.content.view(), ref.where);
  if (!users) return std::unexpected(users.error());
  out.users = std::move(*users);
  return out;
}

/// A string with an end, for crypt(3), wiped behind it.
struct CString {
  std::vector<char> bytes;
  explicit CString(ByteView b) : bytes(b.begin(), b.end()) { bytes.push_back('\0'); }
  CString(const CString&) = delete;
  CString& operator=(const CString&) = delete;
  ~CString() { ::explicit_bzero(bytes.data(), bytes.size()); }
};

bool hash_matches(ByteView hash, const SecretBytes& password) {
  const CString phrase(password.view()), setting(hash);
  struct Data {
    std::unique_ptr<crypt_data> data = std::make_unique<crypt_data>();
    ~Data() { ::explicit_bzero(data.get(), sizeof(crypt_data)); }
  } work;
  const char* made = ::crypt_r(phrase.bytes.data(), setting.bytes.data(), work.data.get());
  return made != nullptr && made[0] != '*' && equal_constant_time(as_bytes(made), hash);
}

}  // namespace

std::expected<bool, std::string> check_user(const config::SecretRef& ref, ByteView user, const SecretBytes& password) {
  const auto file = read(ref);
  if (!file) return std::unexpected(file.error());
  // All names are looked at, and a hash is computed whoever it is: for a name that is not there, or one with its password in clear, it
  // is somebody's. A file with passwords in clear alone has none to compute for anybody.
  const User *found = nullptr, *stand_in = nullptr;
  for (const User& u : file->users) {
    if (equal_constant_time(u.name, user)) found = &u;
    if (!stand_in && of_crypt(u.proof)) stand_in = &u;
  }
  if (std::ranges::find(password.view(), std::uint8_t{0}) != password.view().end()) return false;  // crypt(3) would end there
  const bool plain = found && is_plain(found->proof), nt = found && is_nt(found->proof);
  const User* hashed = found && !plain && !nt ? found : stand_in;
  const bool same = hashed && hash_matches(hashed->proof, password);
  if (plain) return equal_constant_time(found->proof.subspan(kPlain.size()), password.view());
  if (nt) return equal_constant_time(nt_hash_in(found->proof).view(), crypto::nt_hash(password.view()).view());
  return same && found != nullptr;
}

ike::UserFound find_user(const config::SecretRef& ref, const ike::FindUser& wanted) {
  ike::UserFound out{.job = wanted.job};
  const auto file = read(ref);
  if (!file) {
    out.error = file.error();
    return out;
  }
  const User* found = nullptr;
  for (const User& u : file->users)
    if (equal_constant_time(u.name, wanted.user)) found = &u;
  out.found = found != nullptr;
  if (!found) return out;
  if (is_plain(found->proof)) {
    out.password = SecretBytes(found->proof.subspan(kPlain.size()));
    out.nt_hash = crypto::nt_hash(out.password.view());
  } else if (is_nt(found->proof) && !wanted.plain) {
    out.nt_hash = nt_hash_in(found->proof);
  } else {
    out.error = "the password of user \"" + printable(wanted.user, 64) +
                "\" is kept as a hash, with which this method of EAP cannot compare; " +
                (wanted.plain ? "it must be {plain}" : "it must be {plain} or {nt}");
  }
  return out;
}

std::expected<std::size_t, std::string> count_users(const config::SecretRef& ref) {
  const auto file = read(ref);
  if (!file) return std::unexpected(file.error());
  return file->users.size();
}

}  // namespace culvert::control
