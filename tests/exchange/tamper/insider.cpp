#include "tests/exchange/tamper/insider.hpp"

#include <algorithm>
#include <stdexcept>

namespace culvert::test::tamper {

namespace {

Insider* g_at_work = nullptr;

constexpr std::size_t kMostRecipes = 8, kMostPast = 48, kAuthHead = 4;
constexpr std::uint8_t kIdV1 = 5, kHashV1 = 8, kSigV1 = 9;
constexpr std::uint8_t kIdI = 35, kIdR = 36, kAuth = 39, kNotifyV2 = 41;
constexpr std::uint16_t kNoPpkAuth = 16436;

const Part* part(const Chain& chain, std::uint8_t type) {
  const auto it = std::ranges::find(chain.parts, type, &Part::type);
  return it == chain.parts.end() ? nullptr : &*it;
}

ByteView proof_of(const Part& auth) { return auth.body.size() < kAuthHead ? ByteView{} : ByteView(auth.body).subspan(kAuthHead); }

/// Whether some identity of `said` is proved by this: as `meant` has it, or by a recipe of ours.
bool proves(ByteView proof, const Recipe* recipe, std::uint8_t id_type, const Chain& meant, const Chain& said) {
  const Part* id = part(meant, id_type);
  if (!id) return true;  // it is said elsewhere who this is
  return std::ranges::any_of(said.parts, [&](const Part& p) {
    if (p.type != id_type) return false;
    return p.body == id->body || (recipe && std::ranges::equal(recipe->make(p.body), proof));
  });
}

bool speaks_of_no_ppk(const Chain& chain) {
  return std::ranges::any_of(chain.parts, [](const Part& p) {
    return p.type == kNotifyV2 && p.body.size() >= 4 && p.body[2] == kNoPpkAuth >> 8 && p.body[3] == (kNoPpkAuth & 0xff);
  });
}

}  // namespace

const Recipe* find(const std::deque<Recipe>& book, ByteView proof) {
  const auto it = std::ranges::find_if(book, [&](const Recipe& r) { return std::ranges::equal(r.proof, proof); });
  return it == book.end() ? nullptr : &*it;
}

Insider* Insider::at_work() { return g_at_work; }

Insider::Insider(Host& insider, Host& victim, std::vector<Change> changes)
    : insider_(insider), victim_(victim), changes_(std::move(changes)) {
  if (g_at_work) throw std::logic_error("two insiders at once");
  g_at_work = this;
  for (Host* h : {&insider_, &victim_})
    h->around = [this, h](const std::function<void()>& step) {
      Host* before = std::exchange(acting_, h);
      step();
      acting_ = before;
    };
}

Insider::~Insider() {
  insider_.around = victim_.around = {};
  g_at_work = nullptr;
}

void Insider::remember(std::deque<Recipe>& book, Bytes proof, std::function<Bytes(ByteView)> make) {
  if (book.size() == kMostRecipes) book.pop_front();
  book.push_back({std::move(proof), std::move(make)});
}

void Insider::seen(ByteView proof) {
  for (const auto& [bytes, number] : proofs_)
    if (std::ranges::equal(bytes, proof)) sent.at(number).authentic = true;
}

void Insider::sealed_as(ByteView proof) {
  if (!sent.empty()) proofs_.emplace_back(Bytes(proof.begin(), proof.end()), sent.size() - 1);
}

HeaderChange Insider::change(std::size_t number, Chain& chain, bool& proven) {
  HeaderChange header;
  for (const Change& c : changes_) {
    if (c.message != kEvery && c.message != number) continue;
    apply(c, chain, header, past_);
    proven = proven && !c.unproven;
  }
  return header;
}

void Insider::prove(const Chain& meant, Chain& said) const {
  for (Part& p : said.parts) {
    const bool v1 = p.type == kHashV1;
    if (!v1 && p.type != kAuth) continue;
    const Recipe* recipe = find(v1 ? identities : auths, v1 ? ByteView(p.body) : proof_of(p));
    const std::uint8_t own = v1 ? kIdV1 : part(meant, kIdI) ? kIdI : kIdR;
    const Part* id = part(said, own);
    if (!recipe || !id) continue;
    const Bytes proof = recipe->make(id->body);
    p.body.resize(v1 ? 0 : kAuthHead);
    p.body.insert(p.body.end(), proof.begin(), proof.end());
  }
}

Insider::Altered Insider::alter_v1(std::uint8_t first, ByteView bytes) {
  Pending p{{}, 0, take_apart(first, bytes), {}};
  p.said = p.meant;
  bool proven = true;
  p.header = change(sent.size(), p.said, proven);
  if (past_.size() < kMostPast) past_.push_back(p.meant);
  if (proven) prove(p.meant, p.said);
  if (!p.said.parts.empty() && p.said.parts.front().type == kHashV1 && proven)
    if (const Recipe* recipe = find(hashes, p.said.parts.front().body)) {
      const Bytes all = put_together(p.said);
      const std::size_t head = std::min(all.size(), 4 + p.said.parts.front().body.size());
      p.said.parts.front().body = recipe->make(ByteView(all).subspan(head));
    }
  Altered out{p.said.first(), put_together(p.said)};
  p.first = out.first;
  p.said = take_apart(out.first, out.chain);
  sent.push_back({.version = 1, .sealed = true, .changed = !std::ranges::equal(out.chain, bytes) || out.first != first});
  if (const Part* hash = part(p.said, kHashV1)) sealed_as(hash->body);
  pending_ = std::move(p);
  return out;
}

void Insider::finish(ike::Header& h) {
  if (!pending_) return;
  const Pending p = std::move(*pending_);
  pending_.reset();
  sent.back().exchange = h.exchange;
  note_forgery(h, p.meant, p.said);
  h.next_payload = p.first;
  h.exchange ^= p.header.exchange;
  h.flags ^= p.header.flags;
  h.message_id.value += static_cast<std::uint32_t>(std::int32_t{p.header.id});
}

Insider::Altered Insider::alter(ike::Header& h, std::uint8_t first, ByteView bytes, bool sealed) {
  const Chain meant = take_apart(first, bytes);
  Chain said = meant;
  bool proven = true;
  const HeaderChange header = change(sent.size(), said, proven);
  if (past_.size() < kMostPast) past_.push_back(meant);
  if (proven) prove(meant, said);
  Altered out{said.first(), put_together(said)};
  note_forgery(h, meant, take_apart(out.first, out.chain));
  sent.push_back({h.major, h.exchange, sealed, !std::ranges::equal(out.chain, bytes) || out.first != first});
  last_meant.assign(bytes.begin(), bytes.end());
  last_said = out.chain;
  last_first = out.first;
  h.exchange ^= header.exchange;
  h.flags ^= header.flags;
  h.message_id.value += static_cast<std::uint32_t>(std::int32_t{header.id});
  return out;
}

void Insider::note_forgery(const ike::Header& h, const Chain& meant, const Chain& said) {
  const bool v1 = h.major == 1;
  if (v1 ? h.exchange != ike::kExchangeMainMode && h.exchange != ike::kExchangeAggressive : h.exchange != ike::kExchangeAuth) return;
  if (!v1 && speaks_of_no_ppk(meant)) return;  // there are two proofs, of which one is to be right
  const std::uint8_t id_type = v1 ? kIdV1 : (h.flags & ike::kFlagInitiator) != 0 ? kIdI : kIdR;
  for (const Part& proof : meant.parts) {
    if (v1 ? proof.type != kHashV1 && proof.type != kSigV1 : proof.type != kAuth) continue;
    const ByteView bytes = v1 ? ByteView(proof.body) : proof_of(proof);
    const Recipe* recipe = find(v1 ? identities : auths, bytes);
    const bool good = std::ranges::any_of(said.parts, [&](const Part& p) {
      if (p.type != proof.type || (!v1 && (p.body.empty() || p.body[0] != proof.body[0]))) return false;
      const ByteView now = v1 ? ByteView(p.body) : proof_of(p);
      return (std::ranges::equal(now, bytes) || recipe) &&
             proves(now, std::ranges::equal(now, bytes) ? nullptr : recipe, id_type, meant, said);
    });
    // Message 2 of Aggressive Mode is made as often as message 1 comes, and once more when message 3 does: one that is right will do.
    if (h.exchange == ike::kExchangeAggressive && good) proven_.insert(h.spi_i.value), forged.erase(h.spi_i.value);
    if (!good && !proven_.contains(h.spi_i.value)) forged.insert(h.spi_i.value);
  }
}

}  // namespace culvert::test::tamper
