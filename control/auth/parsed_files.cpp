#include "control/auth/parsed_files.hpp"

#include "control/config/secret.hpp"

namespace culvert::control::auth {

namespace {
/// With `where` before the error.
template <class T>
std::expected<T, std::string> said_of(const std::string& where, std::expected<T, std::string> read) {
  if (!read) return std::unexpected(where + read.error());
  return read;
}
}  // namespace

/// What was kept, or what the file holds now. One that changes while it is read has another stamp afterwards.
template <class T, class Open, class Parse>
T ParsedFiles::look_up(Table<T>& table, const std::string& path, Open open, Parse parse) {
  const std::lock_guard lock(table.mutex);
  const Stamp now = stamps({path}).front();
  if (const auto it = table.entries.find(path); it != table.entries.end() && it->second.stamp == now) return it->second.value;
  const auto content = open();
  if (!content) return std::unexpected(content.error());  // may be over before the file changes
  T value = parse(*content);
  return table.entries.insert_or_assign(path, typename Table<T>::Entry{now, std::move(value)}).first->second.value;
}

ParsedFiles::Certificates ParsedFiles::certificates(const std::string& path) {
  return look_up(
      certificates_, path, [&] { return read_file(path, crypto::kMaxCertificateFile); },
      [&](const Bytes& content) { return said_of(printable(as_bytes(path), 256) + ": ", crypto::Certificate::read(content)); });
}
ParsedFiles::List ParsedFiles::list(const std::string& path) {
  return look_up(
      lists_, path, [&] { return read_file(path, crypto::kMaxList); },
      [&](const Bytes& content) { return said_of(printable(as_bytes(path), 256) + ": ", crypto::RevocationList::read(content)); });
}
ParsedFiles::Key ParsedFiles::key(const std::string& path) {
  return look_up(
      keys_, path, [&] { return read_private_file(path, "the key file", crypto::kMaxKeyFile); },
      [&](const SecretBytes& content) {
        return said_of("the key file " + printable(as_bytes(path), 256) + " ", crypto::PrivateKey::read(content.view()));
      });
}

}  // namespace culvert::control::auth
