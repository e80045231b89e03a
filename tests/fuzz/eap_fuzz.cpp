// Fuzzes EAP: a server that a user says anything to, and a user that a server says anything to.
//   input: role and method (1 byte), then records: length (2 bytes), a packet.
// Every answer parses and is of the right kind; an end is an end; a key is there when the method makes one, and nowhere else. The
// challenges are those of RFC 2759 §9.2, so that the seeds know right answers. What TLS makes of a message its first byte says.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "control/crypto/nt_hash.hpp"
#include "control/ikev2/eap/client.hpp"
#include "control/ikev2/eap/server.hpp"

namespace {

using namespace culvert;
using namespace culvert::eap;

void require(bool condition) {
  if (!condition) std::abort();
}

const Bytes kServer = from_hex("5b5d7c7d7b3f2f3e3c2c602132262628").value(), kUser = from_hex("21402324255e262a28295f2b3a337c7e").value();
const SecretBytes kPassword(as_bytes("clientPass"));

void require_packet(const Bytes& bytes, Code code) {
  const auto p = eap::parse(bytes);
  require(p && p->code == code && encode(*p) == bytes);
}

ByteView next(Reader& in) { return in.take(std::min<std::size_t>(in.be<std::uint16_t>(), in.remaining())); }

TlsNews news(const StepTls& step) {
  const std::uint8_t what = step.input.empty() ? 0x05 : step.input.front();
  TlsNews out{.output = Bytes((what & 0x1fU) * std::size_t{97}, what), .done = (what & 0x40U) != 0};
  if ((what & 0x80U) != 0) out.failure = "it says so";
  if (out.done) out.msk = SecretBytes(Bytes(64, 3));
  return out;
}

void serve(Reader in, Method method) {
  Server server({kServer, Bytes(16, 7), 0});
  require_packet(server.begin(), Code::Request);
  bool over = false;
  while (in.ok() && in.remaining() > 2) {
    Server::Verdict verdict = server.on_packet(next(in));
    if (const auto* who = std::get_if<Identified>(&verdict)) {
      require(!who->identity.empty() && who->identity.size() <= kMaxName);
      require_packet(server.choose(method, "gw.example"), Code::Request);
      continue;
    }
    if (const auto* ask = std::get_if<AskUser>(&verdict)) {
      const Credential known{kPassword, crypto::nt_hash(kPassword.view())};
      verdict = server.on_user(std::ranges::equal(ask->user, as_bytes("User")) ? &known : nullptr);
    }
    if (const auto* step = std::get_if<StepTls>(&verdict)) {
      require(method == Method::Tls && step->input.size() <= kMaxTlsBytes);
      verdict = server.on_tls(news(*step));
    }
    require(!over || std::holds_alternative<Refusal>(verdict));
    if (const auto* reply = std::get_if<Reply>(&verdict)) require_packet(reply->packet, Code::Request);
    if (const auto* end = std::get_if<Proved>(&verdict)) {
      require_packet(end->packet, Code::Success);
      require(server.msk().empty() == (method == Method::Md5));
    }
    over = over || std::holds_alternative<Proved>(verdict) || std::holds_alternative<Refusal>(verdict);
  }
  require_packet(server.failure(), Code::Failure);
  if (const auto last = server.farewell()) require_packet(*last, Code::Request);
}

void visit(Reader in, Method method) {
  Client client({method, to_bytes("User"), kPassword, kUser});
  while (in.ok() && in.remaining() > 2) {
    Client::Verdict verdict = client.on_packet(next(in));
    if (const auto* step = std::get_if<StepTls>(&verdict)) {
      require(method == Method::Tls && step->input.size() <= kMaxTlsBytes);
      verdict = client.on_tls(news(*step));
    }
    if (const auto* reply = std::get_if<Reply>(&verdict)) require_packet(reply->packet, Code::Response);
    if (std::holds_alternative<Proved>(verdict)) require(client.msk().empty() == (method == Method::Md5));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader in(ByteView(data, size));
  const auto what = in.be<std::uint8_t>();
  const Method method = (what & 4U) != 0 ? Method::Tls : (what & 2U) != 0 ? Method::Md5 : Method::Mschapv2;
  (what & 1U) != 0 ? visit(in, method) : serve(in, method);
  return 0;
}
