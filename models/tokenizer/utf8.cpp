#include "models/tokenizer/utf8.h"

namespace r1::utf8 {

Decoded decode(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const uint8_t b0 = byte(0);
  if (b0 < 0x80) return {b0, 1, true};
  uint32_t length, low = 0x80, high = 0xBF;  // legal range of the second byte
  if (b0 >= 0xC2 && b0 <= 0xDF) {
    length = 2;
  } else if (b0 >= 0xE0 && b0 <= 0xEF) {
    length = 3;
    if (b0 == 0xE0) low = 0xA0;
    if (b0 == 0xED) high = 0x9F;
  } else if (b0 >= 0xF0 && b0 <= 0xF4) {
    length = 4;
    if (b0 == 0xF0) low = 0x90;
    if (b0 == 0xF4) high = 0x8F;
  } else {
    return {0xFFFD, 1, false};
  }
  uint32_t code_point = b0 & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (i >= s.size() || byte(i) < low || byte(i) > high) return {0xFFFD, i, false};
    code_point = (code_point << 6) | (byte(i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {code_point, length, true};
}

void append(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_valid(std::string_view s) {
  while (!s.empty()) {
    const Decoded d = decode(s);
    if (!d.valid) return false;
    s.remove_prefix(d.length);
  }
  return true;
}

std::string replace_malformed(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    const Decoded d = decode(s);
    if (d.valid) {
      out.append(s.substr(0, d.length));
    } else {
      append(out, 0xFFFD);
    }
    s.remove_prefix(d.length);
  }
  return out;
}

ByteAlphabet::ByteAlphabet() {
  byte_of.fill(-1);
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const uint32_t code_point = itself ? b : next++;
    append(text_of[b], code_point);
    byte_of[code_point] = static_cast<int16_t>(b);
  }
}

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

std::string to_byte_alphabet(std::string_view bytes) {
  const ByteAlphabet& alphabet = byte_alphabet();
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) out += alphabet.text_of[static_cast<uint8_t>(c)];
  return out;
}

}  // namespace r1::utf8
