// How the client shows numbers and tables.
#include <cstring>
#include <sstream>

#include <catch2/catch.hpp>

#include "common/bytes.hpp"
#include "control/cli/client/commands.hpp"
#include "control/cli/client/pcapng.hpp"
#include "control/cli/client/text.hpp"

using namespace culvert;
using namespace culvert::control::cli;
using Catch::Contains;
using Catch::EndsWith;
using Catch::StartsWith;
namespace json = boost::json;

namespace {
/// What a command prints for this answer.
std::string text_for(void (*add)(CLI::App&, Call&), const std::string& command, const std::string& answer) {
  CLI::App app;
  Call call;
  add(app, call);
  app.parse(command);
  return call.text(json::parse(answer).as_object());
}
}  // namespace

TEST_CASE("numbers carry units that a person reads at a glance", "[cli]") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(999) == "999 B");
  CHECK(human_bytes(1000) == "1.0 kB");
  CHECK(human_bytes(999'960) == "1.0 MB");
  CHECK(human_bytes(12'345'678) == "12.3 MB");
  CHECK(human_bytes(UINT64_MAX) == "18.4 EB");
  CHECK(human_count(7) == "7");
  CHECK(human_count(1000) == "1 000");
  CHECK(human_count(1234567) == "1 234 567");
  CHECK(human_seconds(0.42) == "0.4s");
  CHECK(human_seconds(59) == "59s");
  CHECK(human_seconds(185) == "3m05s");
  CHECK(human_seconds(7620) == "2h07m");
  CHECK(human_seconds(4 * 86400 + 3 * 3600) == "4d03h");
  CHECK(human_seconds(-30) == "-30s");
  CHECK(human_seconds(boost::json::value(nullptr)) == "-");
}

TEST_CASE("tables align, numbers at the right", "[cli]") {
  Table t({"NAME", "COUNT", "NOTE"});
  t.right({1});
  t.row({"a", "1", "x"});
  t.row({"longer", "1 000", ""});
  CHECK(t.text() == "NAME    COUNT  NOTE\na           1  x\nlonger  1 000\n");
}

TEST_CASE("a target is a connection, or a child behind a slash", "[cli]") {
  CHECK(target_args("site-b") == boost::json::object{{"connection", "site-b"}});
  CHECK(target_args("site-b/net") == boost::json::object{{"connection", "site-b"}, {"child", "net"}});
}

TEST_CASE("an answer of another version is an error, not a crash", "[cli]") {
  const boost::json::object o{{"n", "text"}, {"t", 5}, {"null", nullptr}};
  CHECK_THROWS(count_of(o, "n"));
  CHECK_THROWS(text_of(o, "t"));
  CHECK_THROWS(list_of(o, "absent"));
  CHECK_THROWS(flag_of(o, "n"));
  CHECK(text_of(o, "absent").empty());
  CHECK(count_of(o, "null") == 0);
}

TEST_CASE("a log without a line says so, whatever was asked", "[cli]") {
  CHECK(text_for(add_log, "log --connection site-b", R"({"events":[]})") == "No event matches.\n");
}

TEST_CASE("list-sas tells an empty table from a data plane that is not there", "[cli]") {
  CHECK(text_for(add_list_sas, "list-sas", R"({"dataplane":{"connected":true},"ike_sas":[],"pairs_without_ike_sa":[],"orphans":[]})") ==
        "There are no SAs.\n");
  CHECK(text_for(add_list_sas, "list-sas", R"({"dataplane":{"connected":false},"ike_sas":[],"pairs_without_ike_sa":[],"orphans":[]})") ==
        "The data plane is not attached, see `culvert log`.\n");
}

TEST_CASE("list-sas shows pairs under their connection when its ISAKMP SA is gone", "[cli]") {
  const std::string child =
      R"({"child":"net","state":"installed","role":"initiator","adopted":false,"suite":"aes128gcm16","encap":"native","local_ts":"10.1.0.0/24",
    "remote_ts":"10.2.0.0/24","age_s":90,"rekey_in_s":null,"expires_in_s":null,"spi_in":"c0000001","spi_out":"0000dddd","in":null,"out":null})";
  CHECK_THAT(text_for(add_list_sas, "list-sas",
                      R"({"dataplane":{"connected":true},"ike_sas":[],"pairs_without_ike_sa":[{"connection":"site-b","children":[)" +
                          child + R"(]}],"orphans":[]})"),
             StartsWith("site-b: no ISAKMP SA\n    net: installed, initiator, ESP aes128gcm16\n"));
}

TEST_CASE("list-sas says what a client is given beside its address", "[cli][rfc7296-2.19]") {
  const std::string sa =
      R"({"id":1,"connection":"away","version":2,"state":"established","role":"initiator","initiator_spi":"0000000000000001",
    "responder_spi":"0000000000000002","local":"10.9.0.1:500","remote":"10.9.0.2:500","local_id":"a","remote_id":"b","suite":null,"vrf":"default",
    "xauth_user":null,"virtual_address":"10.3.0.1","virtual_addresses":["10.3.0.1"],"given":{"dns":["10.2.0.53"],"networks":["10.2.0.0/24"]},
    "nat":{"local":false,"remote":false,"forced":false},"mobike":false,"message_id_sync":false,"replay_counter_sync":false,"peer_addresses":[],
    "vendor_ids":[],"age_s":1,"rekey_in_s":null,"expires_in_s":null,"children":[]})";
  CHECK_THAT(text_for(add_list_sas, "list-sas",
                      R"({"dataplane":{"connected":true},"ike_sas":[)" + sa + R"(],"pairs_without_ike_sa":[],"orphans":[]})"),
             Contains("    virtual address 10.3.0.1\n    the peer gives us DNS 10.2.0.53, network 10.2.0.0/24\n"));
}

TEST_CASE("list-sas says for which worker an SA is", "[cli][rfc9611]") {
  const auto shown = [](const std::string& worker) {
    return text_for(add_list_sas, "list-sas",
                    R"({"dataplane":{"connected":true},"ike_sas":[],"pairs_without_ike_sa":[{"connection":"site-b","children":[
    {"child":"net","state":"installed","role":"initiator","adopted":false,"worker":)" +
                        worker + R"(,"suite":"aes128gcm16","encap":"udp","local_ts":"10.1.0.0/24",
    "remote_ts":"10.2.0.0/24","age_s":90,"rekey_in_s":null,"expires_in_s":null,"spi_in":"c0000001","spi_out":"0000dddd","in":null,"out":null}]}],
    "orphans":[]})");
  };
  CHECK_THAT(shown("2"), Contains("    net: installed, initiator, ESP aes128gcm16 in UDP, for worker 2\n"));
  CHECK_THAT(shown("null"), Contains("    net: installed, initiator, ESP aes128gcm16 in UDP\n"));
}

TEST_CASE("list-sas shows what an SA dropped and what the path lost", "[cli]") {
  const std::string child =
      R"({"child":"net","state":"installed","role":"initiator","adopted":false,"suite":"aes128gcm16","encap":"native","local_ts":"10.1.0.0/24",
    "remote_ts":"10.2.0.0/24","age_s":90,"rekey_in_s":null,"expires_in_s":null,"spi_in":"c0000001","spi_out":"0000dddd",
    "in":{"packets":7,"bytes":700,"worker":0,"idle_s":null,"drops":{"esp_auth":3,"esp_old":0,"other":1},"gaps":{"lost":2,"reordered":0,"duplicated":1}},
    "out":{"packets":1,"bytes":100,"worker":0,"idle_s":null,"drops":{"too_big":0,"other":0}}})";
  const std::string text =
      text_for(add_list_sas, "list-sas",
               R"({"dataplane":{"connected":true},"ike_sas":[],"pairs_without_ike_sa":[{"connection":"site-b","children":[)" + child +
                   R"(]}],"orphans":[]})");
  CHECK_THAT(text,
             Contains("            dropped: esp_auth 3, other 1\n            on the path: lost 2, duplicated 1\n        out 0000dddd"));
  CHECK_THAT(text, EndsWith("worker 0\n"));
}

TEST_CASE("trace-packet numbers its steps and ends with the verdict", "[cli]") {
  const auto shown = [](const std::string& verdict) {
    return text_for(
        add_trace_packet, "trace-packet 10.1.0.5 10.2.0.5 --proto udp --dport 9 --df",
        R"({"verdict":")" + verdict + R"(","port":"wan","reason":"no_route","help":"no route","steps":[{"step":"ttl","text":"TTL 3"}]})");
  };
  CHECK(shown("encrypted") == "  1  TTL 3\nSent encrypted by port wan.\n");
  CHECK(shown("clear") == "  1  TTL 3\nSent IN CLEAR by port wan.\n");
  CHECK(shown("dropped") == "  1  TTL 3\nDropped: no_route: no route.\n");
  CHECK(shown("here") == "  1  TTL 3\nIt ends here: it is for the gateway itself.\n");
}

TEST_CASE("pcapng: blocks, interfaces and options as the draft has them", "[cli][capture]") {
  std::ostringstream out;
  PcapngWriter writer(out);
  const Bytes data{0x45, 0, 0, 20, 1};
  writer.write({.interface = "wan", .time_ns = 0x1122334455667788, .inbound = true, .length = 20, .data = data, .comment = "hello"});
  const std::size_t first = out.str().size();
  writer.write({.interface = "wan", .time_ns = 1, .inbound = false, .length = 5, .data = data, .comment = ""});
  const std::string text = out.str();
  // Block lengths stand at both ends, and lead from one block to the next.
  std::vector<std::uint32_t> types;
  std::size_t at = 0;
  const auto word = [&text](std::size_t where) {
    std::uint32_t v;
    std::memcpy(&v, text.data() + where, sizeof v);
    return v;
  };
  for (std::uint32_t length = 0; at < text.size(); at += length) {
    types.push_back(word(at));
    length = word(at + 4);
    REQUIRE(length % 4 == 0);
    REQUIRE(at + length <= text.size());
    CHECK(word(at + length - 4) == length);
  }
  CHECK(types == std::vector<std::uint32_t>{0x0a0d0d0a, 1, 6, 6});
  const std::string last = text.substr(first);
  CHECK(to_hex(as_bytes(last)) ==
        "06000000340000000000000000000000010000000500000005000000"
        "4500001401000000020004000200000000000000"
        "34000000");
}

TEST_CASE("counters --nodes shows cycles by step", "[cli]") {
  CLI::App app;
  Call call;
  add_counters(app, call);
  app.parse("counters --nodes");
  const std::string text =
      call.text(json::parse(R"({"workers":[{"worker":0,"nodes":[{"node":"decrypt","help":"h","packets":10,"cycles":3000},
                                {"node":"send","help":"s","packets":0,"cycles":1000}]}]})")
                    .as_object());
  CHECK_THAT(text, Contains("decrypt             300  75.0 %                10  h"));
  CHECK_THAT(text, Contains("send                  -  25.0 %                 0  s"));
}

TEST_CASE("list-sas says when a suite is not agreed yet, or was a former culvertd's matter", "[cli]") {
  const auto child = [](const std::string& state, const std::string& role, bool adopted) {
    const std::string text = text_for(
        add_list_sas, "list-sas",
        R"({"dataplane":{"connected":true},"ike_sas":[],"pairs_without_ike_sa":[{"connection":"c","children":[{"child":"net","state":")" +
            state + R"(","role":)" + role + R"(,"adopted":)" + (adopted ? "true" : "false") +
            R"(,"suite":null,"encap":"native","local_ts":"10.1.0.0/24","remote_ts":"10.2.0.0/24",
            "age_s":null,"rekey_in_s":null,"expires_in_s":null,"spi_in":"c0000001","spi_out":"00000000","in":null,"out":null}]}],"orphans":[]})");
    return text.substr(text.find('\n') + 1, text.find('\n', text.find('\n') + 1) - text.find('\n') - 1);
  };
  CHECK(child("negotiating", "\"initiator\"", false) == "    net: negotiating, initiator, suite not agreed yet");
  CHECK(child("installed", "null", true) == "    net: installed, of a former culvertd, suite unknown");
  CHECK_THAT(
      text_for(add_list_sas, "list-sas",
               R"({"dataplane":{"connected":true},"ike_sas":[{"connection":"c","id":1,"state":"connecting","role":"initiator","suite":null,
                      "nat":{"local":false,"remote":false,"forced":false},"local":"10.9.0.1:500","remote":"10.9.0.2:500","local_id":"a","remote_id":"b",
                      "initiator_spi":"1122334455667788","responder_spi":"0000000000000000","vendor_ids":["strongSwan","DPD"],"age_s":1,"rekey_in_s":null,"expires_in_s":null,"children":[]}],
                      "pairs_without_ike_sa":[],"orphans":[]})"),
      StartsWith("c #1: connecting, initiator, suite not agreed yet\n"));
}

TEST_CASE("list-conns says what a connection that is down is waiting for", "[cli]") {
  const auto shown = [](const std::string& up, const std::string& connecting) {
    const std::string text = text_for(
        add_list_conns, "list-conns",
        R"({"dataplane":{"connected":true},"connections":[{"connection":"c","up":)" + up + R"(,"connecting":)" + connecting +
            R"(,"local_addrs":["10.9.0.1"],"remote_addrs":["10.9.0.2"],"local_id":"a","remote_id":"b","failure":null,"children":[]}]})");
    return text.substr(0, text.find('\n'));
  };
  CHECK(shown("true", "null") == "c: UP");
  CHECK(shown("false", "null") == "c: down");
  CHECK(shown("false", R"({"for_s":20.2,"unanswered_message":1})") == "c: down, connecting for 20s: no answer to message 1 yet");
  CHECK(shown("false", R"({"for_s":0.1,"unanswered_message":null})") == "c: down, connecting for 0.1s");
}

TEST_CASE("IKEv2 by name: in list-conns, in list-sas, and in what is waited for", "[cli][ikev2]") {
  const auto conns = [](const std::string& connecting) {
    const std::string text = text_for(
        add_list_conns, "list-conns",
        R"({"dataplane":{"connected":true},"connections":[{"connection":"c","version":2,"up":false,"connecting":)" + connecting +
            R"(,"local_addrs":["10.9.0.1"],"remote_addrs":["10.9.0.2"],"local_id":"a","remote_id":"b","failure":null,"children":[]}]})");
    return text.substr(0, text.find('\n'));
  };
  CHECK(conns("null") == "c: down, IKEv2");
  CHECK(conns(R"({"for_s":20.2,"unanswered_message":1})") == "c: down, connecting for 20s: no answer to IKE_SA_INIT yet, IKEv2");
  CHECK(conns(R"({"for_s":20.2,"unanswered_message":3})") == "c: down, connecting for 20s: no answer to IKE_AUTH yet, IKEv2");
  const auto sas = [](const std::string& suite) {
    const std::string text = text_for(
        add_list_sas, "list-sas",
        R"({"dataplane":{"connected":true},"ike_sas":[{"connection":"c","version":2,"id":1,"state":"established","role":"initiator","suite":)" +
            suite +
            R"(,"nat":{"local":false,"remote":false,"forced":false},"local":"10.9.0.1:500","remote":"10.9.0.2:500","local_id":"a","remote_id":"b",
            "initiator_spi":"1122334455667788","responder_spi":"0000000000000000","vendor_ids":[],"age_s":1,"rekey_in_s":null,"expires_in_s":null,"children":[]}],
            "pairs_without_ike_sa":[],"orphans":[]})");
    return text.substr(0, text.find('\n'));
  };
  CHECK(sas(R"("aes128gcm16-prfsha256-ecp256")") == "c #1: established, initiator, IKEv2 aes128gcm16-prfsha256-ecp256");
  CHECK(sas("null") == "c #1: established, initiator, IKEv2, suite not agreed yet");
}

TEST_CASE("list-sas says of an IKE SA whether it can move, and where its peer is, too", "[cli][ikev2][mobike]") {
  const auto line = [](const std::string& mobike) {
    const std::string text = text_for(
        add_list_sas, "list-sas",
        R"({"dataplane":{"connected":true},"ike_sas":[{"connection":"c","version":2,"id":1,"state":"established","role":"initiator","suite":null,"nat":{"local":false,"remote":false,"forced":false},"local":"10.9.0.1:4500","remote":"10.9.0.2:4500","local_id":"a","remote_id":"b",
            "initiator_spi":"1122334455667788","responder_spi":"99","vendor_ids":[],"age_s":1,"rekey_in_s":null,"expires_in_s":null,"children":[])" +
            mobike + R"(}],"pairs_without_ike_sa":[],"orphans":[]})");
    return text.substr(text.find('\n', text.find("SPIs")) + 1);
  };
  CHECK(line("") == "");
  CHECK(line(R"(,"mobike":false,"peer_addresses":[])") == "");
  CHECK(line(R"(,"mobike":true,"peer_addresses":[])") == "    can move (MOBIKE)\n");
  CHECK(line(R"(,"mobike":true,"peer_addresses":["10.9.1.2","2001:db8::2"])") ==
        "    can move (MOBIKE), the peer is at 10.9.1.2, 2001:db8::2, too\n");
  CHECK(line(R"(,"message_id_sync":false,"replay_counter_sync":false)") == "");
  CHECK(line(R"(,"message_id_sync":true,"replay_counter_sync":false)") == "    message IDs can be set right (RFC 6311)\n");
  CHECK(line(R"(,"message_id_sync":true,"replay_counter_sync":true)") ==
        "    message IDs and sequence numbers can be set right (RFC 6311)\n");
  CHECK(line(R"(,"window":1)") == "");
  CHECK(line(R"(,"window":5)") == "    the peer may have 5 requests under way at once\n");
}

TEST_CASE("explain: of IKEv2 the exchange by its name, and what a child waits for", "[cli][explain][ikev2]") {
  const auto shown = [](const std::string& exchange, const std::string& number) {
    return text_for(add_explain, "explain site-b",
                    R"({"dataplane":{"connected":true},"strangers":[],"connections":[
    {"connection":"site-b","version":2,"state":"connecting","for_s":3.0,"unanswered_message":3,
     "peers":[{"version":2,"remote":"10.9.0.2:500","remote_id":"b","local_id":"a","suite":"aes128gcm16-prfsha256-ecp256","role":"initiator","for_s":1.0,"nat":false}],
     "children":[{"child":"net","state":"down","for_s":null,"suite":null,"local_ts":"10.1.0.0/24","remote_ts":"10.2.0.0/24",
                  "waits_for":"phase1","waits_s":null},
                 {"child":"two","state":"down","for_s":null,"suite":null,"local_ts":"10.1.0.0/24","remote_ts":"10.3.0.0/24",
                  "waits_for":"answer","waits_s":null}],
     "failures":[{"child":null,"age_s":12.0,"first_age_s":12.0,"count":1,"mended_age_s":null,"exchange":")" +
                        exchange + R"(","message_number":)" + number +
                        R"(,"role":"initiator","by":"peer","peer":"10.9.0.2:500","reason":"auth_failed","message":"m.",
                  "said":"AUTHENTICATION_FAILED","said_proven":true,"causes":[],"head":[],"rows":[],"yaml":[],"note":null}]}]})");
  };
  CHECK_THAT(shown("ike_auth", "3"),
             StartsWith("site-b: connecting for 3.0s, no answer to IKE_AUTH yet\n"
                        "  with b at 10.9.0.2:500 for 1.0s, as a (initiator), IKEv2 aes128gcm16-prfsha256-ecp256\n"
                        "  net: down, waits for the IKE SA, which is under way, 10.1.0.0/24 - 10.2.0.0/24\n"
                        "  two: down, waits for the CHILD SA, which is being negotiated, 10.1.0.0/24 - 10.3.0.0/24\n"));
  CHECK_THAT(shown("ike_auth", "3"), Contains("  IKE_AUTH, the request, we as initiator: refused by the peer (auth_failed)\n"));
  CHECK_THAT(shown("ike_sa_init", "2"), Contains("  IKE_SA_INIT, the answer, we as"));
  CHECK_THAT(shown("create_child_sa", "null"), Contains("  CREATE_CHILD_SA, we as"));
}

TEST_CASE("counters shows what each port dropped in the form of the other drops", "[cli]") {
  const std::string answer = R"({"workers":[{"worker":0}],"drops":[],"children":[],"rings":[],"exchanges":[],"ports":[
    {"port":"wan","up":true,"rx_missed":1200,"rx_nombuf":3},{"port":"lan","up":true}]})";
  CHECK_THAT(text_for(add_counters, "counters", answer),
             Contains("\nDROPS BY PORT  REASON     TOTAL  WHAT IT MEANS\n"
                      "wan            missed     1 200  the port dropped it because no worker took it in time\n"
                      "wan            no_buffer      3  the port dropped it for want of a packet buffer\n\n"));
  CHECK_THAT(text_for(add_counters, "counters --all", answer), Contains("lan            tx_errors      0  the port could not send it\n"));
  CHECK_THAT(
      text_for(add_counters, "counters", R"({"workers":[{"worker":0}],"drops":[],"children":[],"rings":[],"exchanges":[],"ports":[]})"),
      Contains("No port dropped a packet.\n"));
}

TEST_CASE("counters: a worker whose packets are with one that has lost its core", "[cli][spread]") {
  const std::string text = text_for(add_counters, "counters", R"({"workers":[
    {"worker":0,"spread_late":3,"spread_oldest_s":2.5},{"worker":1,"spread_late":0,"spread_oldest_s":0.001}],
    "manager":{"drops":{}},"drops":[],"children":[],"rings":[],"exchanges":[],"ports":[]})");
  CHECK_THAT(text, Contains("Worker 0 waits for 2.5s for what another one does of its packets"));
  CHECK_THAT(text, Contains("Worker 0 got 3 parcels back late"));
  CHECK_FALSE(Contains("Worker 1").match(text));
}

TEST_CASE("an address that is a peer in several VRFs: which one is meant, and that there are others", "[cli][vrf]") {
  CHECK(text_for(add_debug, "debug 10.9.0.2 --vrf blue",
                 R"({"message":"each message is logged","also_in":["default","red"],"watches":[
                   {"connection":null,"peer":"10.9.0.2","vrf":"blue","for_s":60}]})") ==
        "each message is logged\nThe same address is another peer in VRF default, red: ask with --vrf.\n"
        "  10.9.0.2, VRF blue for another 1m00s\n");
}

TEST_CASE("explain: a failure in plain words, both sides below each other, with the line that would mend it", "[cli][explain]") {
  const std::string text = text_for(add_explain, "explain site-b", R"({"dataplane":{"connected":true},"strangers":[],"connections":[
    {"connection":"site-b","state":"down","for_s":null,"unanswered_message":null,"peers":[],
     "children":[{"child":"net","state":"down","for_s":null,"suite":null,"local_ts":"10.1.0.0/24","remote_ts":"10.2.0.0/24",
                  "waits_for":"retry","waits_s":30.0}],
     "failures":[{"child":null,"age_s":12.0,"first_age_s":600.0,"count":7,"mended_age_s":null,"exchange":"main_mode","message_number":5,
                  "role":"responder","by":"us","peer":"10.9.0.2:500","reason":"wrong_identity","message":"It calls itself else.example.",
                  "said":null,"said_proven":false,"evidence":{"kind":"identity"},
                  "causes":[{"cause":"peer_identity","text":"The peer calls itself else.example; gw-b.example is configured."}],
                  "head":["expected","received"],"rows":[["gw-b.example","else.example"]],
                  "yaml":["remote: {id: else.example}"],"note":"If that is the peer."}]}]})");
  CHECK(text ==
        "site-b: down\n"
        "  net: down, waits for the next attempt in 30s, 10.1.0.0/24 - 10.2.0.0/24\n"
        "\n"
        "  Main mode, message 5, we as responder: refused by us (wrong_identity)\n"
        "    12s ago, 7 times in the last 10m00s; peer 10.9.0.2:500\n"
        "    It calls itself else.example.\n"
        "      expected:          gw-b.example\n"
        "      received:          else.example\n"
        "      likely cause:      The peer calls itself else.example; gw-b.example is configured.\n"
        "      would accept it:   remote: {id: else.example}\n"
        "                         If that is the peer.\n"
        "\n");
  CHECK_THAT(text_for(add_explain, "explain site-b", R"({"dataplane":{"connected":true},"strangers":[],"connections":[
    {"connection":"site-b","state":"up","for_s":null,"unanswered_message":null,"peers":[],"failures":[],
     "children":[{"child":"net","state":"up","for_s":300.0,"suite":"aes128gcm16","nothing_in_for_s":90.0,"local_ts":"10.1.0.0/24",
                  "remote_ts":"10.2.0.0/24","waits_for":null,"waits_s":null}]}]})"),
             Contains("  net: UP for 5m00s, aes128gcm16, 10.1.0.0/24 - 10.2.0.0/24\n    packets go out, and none has come in for 1m30s:"));
}
