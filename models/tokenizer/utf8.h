// UTF-8: reading code points, replacing what is malformed, and the byte alphabet of byte-level BPE.
// Not Unicode properties (utf8proc and PCRE2 have those).
// Thread rule: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace r1::utf8 {

struct Decoded {
  uint32_t code_point = 0xFFFD;
  uint32_t length = 1;  // bytes consumed, >= 1; for a malformed sequence: its maximal subpart (Unicode 15, table 3-8)
  bool valid = false;
};

// The code point at the start of `s`, which is not empty.
Decoded decode(std::string_view s);

void append(std::string& out, uint32_t code_point);

bool is_valid(std::string_view s);

// Every maximal malformed subpart becomes one U+FFFD (as Rust's from_utf8_lossy and WHATWG do).
std::string replace_malformed(std::string_view s);

// Byte alphabet (GPT-2): 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF stand for themselves; the other 68 bytes, ascending, are
// U+0100...U+0143.
struct ByteAlphabet {
  ByteAlphabet();
  std::array<std::string, 256> text_of;  // byte -> its character, as UTF-8
  std::array<int16_t, 0x144> byte_of;    // code point -> byte, or -1
};
const ByteAlphabet& byte_alphabet();  // immutable

// Bytes -> characters of the byte alphabet.
std::string to_byte_alphabet(std::string_view bytes);

}  // namespace r1::utf8
