// Known answers of the self-test. Made with OpenSSL by way of Python's "cryptography", XCBC from its AES.
// Those that an RFC prints stand behind them, with all that they are made of.
// ESP: of the header, IV and text that self_test.cpp gives; ciphertext and ICV. AH: the ICV.
#pragma once

#include <array>
#include <cstdint>

namespace culvert::dp {

struct KnownAnswer {
  const char* suite;
  const char* sealed;
};
// clang-format off
inline constexpr std::array kEspAnswers{
    KnownAnswer{"aes128gcm16", "1666daaea6829f72a79dfd2482fffd8b6e762ccca7d0d3ce55db1c72f76d4bcb52b95b243834c8b5f12c2945fe81a71a"
                "b6cf6240358019011afc6805b8d21c47"},
    KnownAnswer{"aes192gcm16", "286ef9be6f4b4039701ce4b257c14d04156176aadc3ba0ed14037050d1e84bd680313fd48e531589e24d97cebcd9ed8b"
                "17f96ef7732935badf110fec0661b035"},
    KnownAnswer{"aes256gcm16", "aae75d497c612306a3fd81207bba33dd80e242a8f2c34140d87bec5518bfcb80cafb3bbd2678dd961e97307f46b5ee4f"
                "5af6e81b8dbf2778b55327497e4aefa9"},
    KnownAnswer{"aes128gcm12", "1666daaea6829f72a79dfd2482fffd8b6e762ccca7d0d3ce55db1c72f76d4bcb52b95b243834c8b5f12c2945fe81a71a"
                "b6cf6240358019011afc6805"},
    KnownAnswer{"aes192gcm12", "286ef9be6f4b4039701ce4b257c14d04156176aadc3ba0ed14037050d1e84bd680313fd48e531589e24d97cebcd9ed8b"
                "17f96ef7732935badf110fec"},
    KnownAnswer{"aes256gcm12", "aae75d497c612306a3fd81207bba33dd80e242a8f2c34140d87bec5518bfcb80cafb3bbd2678dd961e97307f46b5ee4f"
                "5af6e81b8dbf2778b5532749"},
    KnownAnswer{"aes128gcm8", "1666daaea6829f72a79dfd2482fffd8b6e762ccca7d0d3ce55db1c72f76d4bcb52b95b243834c8b5f12c2945fe81a71a"
                "b6cf624035801901"},
    KnownAnswer{"aes192gcm8", "286ef9be6f4b4039701ce4b257c14d04156176aadc3ba0ed14037050d1e84bd680313fd48e531589e24d97cebcd9ed8b"
                "17f96ef7732935ba"},
    KnownAnswer{"aes256gcm8", "aae75d497c612306a3fd81207bba33dd80e242a8f2c34140d87bec5518bfcb80cafb3bbd2678dd961e97307f46b5ee4f"
                "5af6e81b8dbf2778"},
    KnownAnswer{"aes128ccm16", "0feaaad2bbcf4cf2968b0e968236154ab88715c9691d0a04969588182ef1b841a3bdc92fe17587d9d718fd21bc058f35"
                "826723614bb2ca17f79eb78eda98a59f"},
    KnownAnswer{"aes256ccm16", "2d3d8a602f5d1c1b6f23f1bbd15269b8a0b6f0e60ede3d3b29fa95231975bae3ba95da5b2c59388728ad6790910b02f6"
                "093eb5bf7ee87096dedec7f78f3a7518"},
    KnownAnswer{"aes128ccm12", "0feaaad2bbcf4cf2968b0e968236154ab88715c9691d0a04969588182ef1b841a3bdc92fe17587d9d718fd21bc058f35"
                "8a1dd960e0aad364e1692d47"},
    KnownAnswer{"aes256ccm12", "2d3d8a602f5d1c1b6f23f1bbd15269b8a0b6f0e60ede3d3b29fa95231975bae3ba95da5b2c59388728ad6790910b02f6"
                "10373615ad361cd742fb13ad"},
    KnownAnswer{"aes128ccm8", "0feaaad2bbcf4cf2968b0e968236154ab88715c9691d0a04969588182ef1b841a3bdc92fe17587d9d718fd21bc058f35"
                "40a3bace6ff24bb1"},
    KnownAnswer{"aes256ccm8", "2d3d8a602f5d1c1b6f23f1bbd15269b8a0b6f0e60ede3d3b29fa95231975bae3ba95da5b2c59388728ad6790910b02f6"
                "185eb6f0c5de8d37"},
    KnownAnswer{"aes128gmac", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
                "585b0392210f850c13de7d9c96fe39ec"},
    KnownAnswer{"aes192gmac", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
                "e8ad6508b26b3a92b4f11d1d6dbc3ccf"},
    KnownAnswer{"aes256gmac", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
                "af4df83b69a4ffc1cd0f776251a75782"},
    KnownAnswer{"aes128-sha1", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "2f52ef509eb55f9a8dc3e70d"},
    KnownAnswer{"aes128-sha256", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "c5066aea052643f3556762d7a2a1a473"},
    KnownAnswer{"aes192-sha256", "f26eef7b43a2da49c4ac8f8de183d2f8d87222578586b774eca994b575c130aa8558cf8f45e1f66f592943d8eef5d872"
                "b939c98c08f1329d1e22f4e3ea22e4ed"},
    KnownAnswer{"aes256-sha1", "1ea9460bf22052819eba89cdc7fc651c87a7184f2e4134d42181f338a4a8b1f66995feccd1f18092d00ecb87a301328b"
                "67ba1d47ad4e280f17c887a1"},
    KnownAnswer{"aes256-sha256", "1ea9460bf22052819eba89cdc7fc651c87a7184f2e4134d42181f338a4a8b1f66995feccd1f18092d00ecb87a301328b"
                "fa1d12c215691de6c4de0fe343b7d58d"},
    KnownAnswer{"aes128-sha384", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "fd170528cb57e13d39d5e7a3e99145613db9dbf9adbe80cf"},
    KnownAnswer{"aes128-sha512", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "26603b7cc048794bc697b2c7ada114a2b535314b821ee108e7675a433a836c47"},
    KnownAnswer{"aes128-aesxcbc", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "a8c4e1f7dc764a39772db9dc"},
    KnownAnswer{"chacha20poly1305", "2556424ed9078edb44504ed25201ffd515d70685a2dd8334c0974399657ac27133e97a21b2d1dcba238c9524b866441b"
                "737fdc19b00bfafd1e965b34a2451461"},
    KnownAnswer{"chacha20poly1305-esn", "2556424ed9078edb44504ed25201ffd515d70685a2dd8334c0974399657ac27133e97a21b2d1dcba238c9524b866441b"
                "36ece25e9b90437744de4fe4bbd65efa"},
    KnownAnswer{"aes128-md5", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "97cdb68f2a4af05d53cda6c8"},
    KnownAnswer{"aes128ctr-sha256", "c55ce098250afc5d5305e25b56b692dc0676cabeb6928f62b78ded3492efed9b5e461cfc97e0e3fe65eb2c42c75d7bfb"
                "aae1848244012e23e7c39bcc16e6add5"},
    KnownAnswer{"aes192ctr-sha256", "fb5146914e76a5e9d5b749021c7e6090387ee9ae7f5b5029600cf4a247d15d142551469aec0b90dd24334060e1d87be6"
                "ff5110584007b1087eac7f76d0daaeaa"},
    KnownAnswer{"aes256ctr-sha256", "35ae0c1855d32fd6d991db9936a468e7baf74d596c713316b3ed91306baa23cdb0d27298c2f37170e84bdc65288ffbb0"
                "32d53a9409f913337a0230c0d12d0e6a"},
    KnownAnswer{"null-sha256", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
                "48242cfebb416860ef0db3bd0f17c66e"},
    KnownAnswer{"3des-sha1", "a93c573d7d7ceeff359b6cfa460ee873cdf888bed8d47be7b8dc6af97148a6f02c72807c76630123427040100d27bec4"
                "cc0369094503c6b8491d0fe6"},
    KnownAnswer{"des-md5", "9ba81d9140afa959dccd348c2aa37d9b1c26dd8babe8b0c7ceb67208fbf67ec86bc4fd45a32929670f56ed2c5d91fc94"
                "2cb59913f2a2d658863e2cf4"},
    KnownAnswer{"aes128gcm16-esn", "1666daaea6829f72a79dfd2482fffd8b6e762ccca7d0d3ce55db1c72f76d4bcb52b95b243834c8b5f12c2945fe81a71a"
                "b84ed344e74bd0d50dc07fa035956c35"},
    KnownAnswer{"aes256ccm16-esn", "2d3d8a602f5d1c1b6f23f1bbd15269b8a0b6f0e60ede3d3b29fa95231975bae3ba95da5b2c59388728ad6790910b02f6"
                "b134ff56389f843d3e822544582973ad"},
    KnownAnswer{"aes128gmac-esn", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
                "4df392b01d5a9729185e46cc7ce29ef5"},
    KnownAnswer{"aes128-sha1-esn", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "d12b88a1dfa10a05e004b093"},
    KnownAnswer{"aes256-sha256-esn", "1ea9460bf22052819eba89cdc7fc651c87a7184f2e4134d42181f338a4a8b1f66995feccd1f18092d00ecb87a301328b"
                "fa1a11b765b488ca06d37d2602f339b0"},
    KnownAnswer{"null-sha512-esn", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
                "397d84ef12e803f98d0c11a94224b1283a4e9aa9fa5d4954ba767c1c7bc70b88"},
    KnownAnswer{"aes128ctr-aesxcbc-esn", "c55ce098250afc5d5305e25b56b692dc0676cabeb6928f62b78ded3492efed9b5e461cfc97e0e3fe65eb2c42c75d7bfb"
                "cafa0b5e39c3f4b1bf90aa9e"},
    KnownAnswer{"aes128-aescmac", "1e03a4d15ac3e32ad21ddb292cf72b32f0819c2268e9a05c6f3e69608746d605020c98987363f5e2944e098a29271353"
                "ca0d116272dbc6b86d03abc4"},
    KnownAnswer{"aes256ctr-aescmac-esn", "35ae0c1855d32fd6d991db9936a468e7baf74d596c713316b3ed91306baa23cdb0d27298c2f37170e84bdc65288ffbb0"
                "164dd2853b9fa4a542e695eb"},
};
inline constexpr std::array kAhAnswers{
    KnownAnswer{"sha1", "0141d3492339c3d28526781c"},
    KnownAnswer{"sha256", "65575424bd3d2679bb0289b01250cdac"},
    KnownAnswer{"sha384", "2393fde4a27dfb335b07444bb29d3f0421cd92c83db9803c"},
    KnownAnswer{"sha512", "e0bb4fba52e0f162e406232122fd0c757e86c424a0c3d105edc63cced01b90ef"},
    KnownAnswer{"aesxcbc", "da3148d3635b2716663e655b"},
    KnownAnswer{"md5", "4b55e08af3ebc9b83a9c8081"},
    KnownAnswer{"aes128gmac", "7b565e4bf6ef0dd201555e39c0513ed4"},
    KnownAnswer{"aes192gmac", "276f71f33255b6c808e60fd3228b9e31"},
    KnownAnswer{"aes256gmac", "55a1ffc93e4f4443582204cd1776df3e"},
    KnownAnswer{"aescmac", "54178508d84dcec45fa302bf"},
    KnownAnswer{"aescmac-esn", "ff07e6382bac442a5f56ba51"},
    KnownAnswer{"sha1-esn", "89185d2935ebf620e9e2b0bc"},
    KnownAnswer{"sha384-esn", "deaea51523243b2e4910aed4eb36edb880337b440c0e1709"},
    KnownAnswer{"aesxcbc-esn", "92e4301b56c41aeebdf81274"},
    KnownAnswer{"aes256gmac-esn", "2656bf9208f5ba7a47233ab9f9d8b02d"},
};
/// The keys in KEYMAT order; SPI and sequence number, whose upper half is extra. RFC 8439's additional data is taken for SPI, upper and
/// lower half; RFC 4494's first 8 bytes for SPI and sequence number.
struct Published {
  const char* where;
  const char* suite;
  const char* encr_key;
  const char* integ_key;
  std::uint32_t sequence_high;
  const char* header;
  const char* iv;
  const char* text;
  const char* sealed;  ///< ciphertext and ICV
};
inline constexpr std::array kPublished{
    Published{"RFC 7634 App. A", "chacha20poly1305", "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3", "", 0x0, "0102030400000005", "1011121314151617",
                "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f10111213"
                "1415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204",
                "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7"
                "2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e076aaa8266b7fb0f7"
                "b11b369907e1ad43"},
    Published{"RFC 8439 2.8.2", "chacha20poly1305-esn", "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f07000000", "", 0xc0c1c2c3, "50515253c4c5c6c7", "4041424344454647",
                "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20496620492063"
                "6f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73"
                "637265656e20776f756c642062652069742e",
                "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
                "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"},
    Published{"RFC 4494 4, 16 bytes", "null-aescmac", "", "2b7e151628aed2a6abf7158809cf4f3c", 0x0, "6bc1bee22e409f96", "",
                "e93d7e117393172a",
                "e93d7e117393172a070a16b46b4d4144f79bdd9d"},
    Published{"RFC 4494 4, 40 bytes", "null-aescmac", "", "2b7e151628aed2a6abf7158809cf4f3c", 0x0, "6bc1bee22e409f96", "",
                "e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
                "e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411dfa66747de9ae63030ca3261"},
    Published{"RFC 4494 4, 64 bytes", "null-aescmac", "", "2b7e151628aed2a6abf7158809cf4f3c", 0x0, "6bc1bee22e409f96", "",
                "e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17"
                "ad2b417be66c3710",
                "e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17"
                "ad2b417be66c371051f0bebf7e3b9d92fc497417"},
};
// clang-format on

}  // namespace culvert::dp
